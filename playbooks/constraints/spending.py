"""What a use of an arm takes from budgets that all users share: money, stock, quotas; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from playbooks.constraints.counting import MOST_COUNTED, Budget, Spend
from playbooks.constraints.documents import Constraint, Liability, MoneyBudget, Quota
from playbooks.constraints.scoping import ALL, Arms, Offered
from playbooks.constraints.windows import Period, name_of
from playbooks.models import Arm
from playbooks.offers import Offer
from playbooks.offers.worth import currency_of

_STOCK, _OWED = "stock.", "max_liability."
# What is taken from budgets whose rules begin so is given back when a coupon is used or over.
OWED = (_OWED, "liability.")


class Spending(NamedTuple):
    """A budget that these arms take from; `amount` says how much each does, in `currency` if it is money.

    While less than `minimum` is taken, what takes from it goes before all others. One for all time is paced
    over `pace`, where it has one.
    """

    rule: str
    limit: int
    period: Period
    zone: str
    amount: Callable[[Arm], int]
    arms: Arms
    currency: str = ""
    minimum: int = 0
    pace: tuple[datetime, datetime] | None = None

    def budget(self, now: datetime) -> Budget:
        """Return the budget as it is counted at a moment."""
        return Budget(self.rule, name_of(self.period, ZoneInfo(self.zone), now), self.limit)

    def takes(self, arm: Arm) -> int:
        """Return how much a use of an arm takes, 0 where it takes nothing."""
        return self.amount(arm) if self.arms is ALL or arm.id in self.arms else 0

    def is_foreign(self, arm: Arm) -> bool:
        """Whether an arm would take money of another currency, which can't be counted here."""
        return bool(self.currency) and arm.currency != self.currency

    def is_full(self, arm: Arm, taken: int) -> bool:
        """Whether there is no room for a use of an arm when so much is taken."""
        amount = self.takes(arm)
        return amount > 0 and (self.is_foreign(arm) or taken + amount > self.limit)

    def spend(self, arm: Arm, now: datetime) -> Spend | None:
        """Return what a use of an arm takes at a moment, None where that is nothing."""
        amount = self.takes(arm)
        return Spend(self.budget(now), amount) if amount else None


def spending_of(one: Constraint, rule: str, arms: Arms) -> Spending | None:
    """Return the budget that a constraint comes to for these arms, None where it is none."""
    match one:
        case Quota():
            most = MOST_COUNTED - 1 if one.maximum is None else one.maximum
            return Spending(rule, most, one.period, one.zone, _once, arms, minimum=one.minimum or 0)
        case MoneyBudget():
            amount = _cost if one.counts == "cost" else _liability
            money = one.amount
            return Spending(
                rule, money.amount, one.period, one.zone, amount, arms, money.currency, pace=one.pace
            )
        case Liability():
            return Spending(rule, one.amount.amount, "all", "UTC", _liability, arms, one.amount.currency)
        case _:
            return None


def of_offers(offers: Sequence[Offer], offered: Offered) -> Iterator[Spending]:
    """Yield the stock and the maximum liability of the offers that arms give."""
    for offer in offers:
        arms = offered.where(lambda arm, name=offer.id: arm.offer == name)  # type: ignore[misc]
        if arms == frozenset():
            continue
        if offer.codes == "stock":
            budget = stock_of(offer.id)
            yield Spending(budget.rule, budget.limit, "all", "UTC", _once, arms)
        if offer.stock is not None:
            yield Spending(f"{_STOCK}{offer.id}", offer.stock, "all", "UTC", _once, arms)
        if (most := offer.maximum_liability) is not None:
            currency = currency_of(offer) or most.currency
            yield Spending(f"{_OWED}{offer.id}", most.amount, "all", "UTC", _liability, arms, currency)


def stock_of(offer: str) -> Budget:
    """Return the budget of an offer with imported codes: of none; every code that is added makes room."""
    return Budget(f"{_STOCK}{offer}", "all", 0)


def _once(arm: Arm) -> int:
    return 1


def _cost(arm: Arm) -> int:
    return arm.cost


def _liability(arm: Arm) -> int:
    return arm.liability
