"""What an offer promises, what giving it once is expected to cost, and what it may cost at worst.

Costs are rounded up to whole minor units, so that a sum of them is never below what is paid.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

import msgspec

from playbooks.money import Money, one_currency

if TYPE_CHECKING:
    from playbooks.offers.documents import Offer

_HUNDREDTHS_OF_PERCENT = 10_000


class Worth(msgspec.Struct, frozen=True, gc=False):
    """An offer in minor units of `currency`; all 0 and no currency where it carries no money."""

    value: int = 0
    cost: int = 0
    liability: int = 0
    currency: str = ""


def worth_of(offer: Offer) -> Worth:
    """Return what an offer promises, costs and may cost."""
    cost, liability = cost_of(offer), liability_of(offer)
    if cost is None or liability is None:
        return Worth()
    return Worth(liability.amount, cost.amount, liability.amount, liability.currency)


def liability_of(offer: Offer) -> Money | None:
    """Return what one coupon may cost at worst, None where the offer carries no money."""
    if offer.kind == "points" and offer.cost_per_1000_points is not None:
        price = offer.cost_per_1000_points
        return Money(ceil(Fraction((offer.points or 0) * price.amount, 1000)), price.currency)
    return offer.value if offer.kind == "fixed_amount" else offer.ceiling or offer.cost


def cost_of(offer: Offer) -> Money | None:
    """Return what giving the offer once is expected to cost, None where it carries no money.

    Stated, or the share of coupons that is redeemed times what one then costs: for a percentage that of the
    expected basket, at most the ceiling, and the ceiling where no basket is expected.
    """
    liability = liability_of(offer)
    model = offer.cost_model
    if liability is None or model.stated is not None:
        return model.stated
    redeemed = Fraction(liability.amount)
    if model.basket is not None and offer.percent is not None:
        share = Fraction(round(offer.percent * 100), _HUNDREDTHS_OF_PERCENT)
        redeemed = min(redeemed, model.basket.amount * share)
    # As it is written: a float's nearest binary fraction would turn .1 of 50 into 6 when rounded up.
    return Money(ceil(redeemed * Fraction(repr(model.redemption))), liability.currency)


def currency_of(offer: Offer) -> str | None:
    """Return the currency of an offer's amounts, None where it carries no money."""
    return one_currency("the offer", offer.amounts)


def mixed_currencies(offers: Iterable[Offer]) -> str | None:
    """Return what is wrong with the currencies of offers that compete, None if it is one, or none at all."""
    by_currency: dict[str, str] = {}
    for offer in offers:
        if (currency := currency_of(offer)) is not None:
            by_currency.setdefault(currency, offer.id)
    if len(by_currency) <= 1:
        return None
    told = ", ".join(f"{offer} {currency}" for currency, offer in sorted(by_currency.items()))
    return f"its offers are of different currencies ({told}), so their costs can't be compared: use one"
