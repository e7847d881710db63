"""Offers: what is given, for how long it is good, and what giving it costs."""

from playbooks.offers.documents import CostModel, Kind, Offer, Redemptions, Scope, Stacking
from playbooks.offers.terms import Terms, combine, terms_of
from playbooks.offers.validity import NEVER, Validity, ends
from playbooks.offers.worth import Worth, cost_of, currency_of, liability_of, mixed_currencies, worth_of

__all__ = [
    "NEVER",
    "CostModel",
    "Kind",
    "Offer",
    "Redemptions",
    "Scope",
    "Stacking",
    "Terms",
    "Validity",
    "Worth",
    "combine",
    "cost_of",
    "currency_of",
    "ends",
    "liability_of",
    "mixed_currencies",
    "terms_of",
    "worth_of",
]
