"""Pacing of money budgets: the faster one is spent, the more its money counts, by its shadow price; pure.

A shadow price says what one more unit of the budget would earn beyond its cost: the dual of the budget in the
problem of earning most within it. It follows what is taken and how much of the period is over, and nothing
else, so that every process computes the same and a decision can be replayed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.documents import Calendar
from playbooks.constraints.rulebook import Rulebook
from playbooks.constraints.spending import Spending
from playbooks.constraints.windows import begins
from playbooks.library import PublishedPlaybook
from playbooks.models import Arm
from playbooks.policy import FloatArray

# How steeply the price answers: with 20, a price of 1 is reached when the money left is 5 % short of the time
# left. The shortfall shrinks with the time, so a budget lasts to the end of its period. A steeper price jumps
# with every coupon of a small budget, a flatter one spends too much early: both earn less in simulations.
GAIN = 20.0
# The price of money that is gone, or nearly.
MOST = 1_000.0
# Within any of these after a period began another one has begun, however its days are shifted.
_INTO_THE_NEXT: Mapping[Calendar, timedelta] = {
    "day": timedelta(hours=36),
    "week": timedelta(days=8),
    "month": timedelta(days=32),
}


def price_of(taken: float, limit: float, elapsed: float) -> float:
    """Return the shadow price of a budget, in its own money: GAIN × ln(time left / money left), at least 0.

    Args:
        taken: of `limit` > 0, both in one unit.
        elapsed: the part of the period that is over, in [0, 1]; nothing is paced when all is.

    >>> price_of(50, 100, 0.5)
    0.0
    >>> round(price_of(52, 100, 0.5), 3)
    0.816
    """
    money = 1 - taken / limit
    time = 1 - elapsed
    if time <= 0:
        return 0.0
    if money <= 0 or time / money >= math.exp(MOST / GAIN):
        return MOST
    return max(0.0, GAIN * math.log(time / money))


def elapsed_of(spending: Spending, now: datetime) -> float | None:
    """Return the part of what a budget is paced over that is over, in [0, 1]; None for one without a pace."""
    if spending.period == "all":
        if spending.pace is None:
            return None
        start, end = spending.pace
        return min(max((now - start) / (end - start), 0.0), 1.0)
    zone = ZoneInfo(spending.zone)
    start = begins(spending.period, zone, now)
    end = begins(spending.period, zone, start + _INTO_THE_NEXT[spending.period])
    return (now - start) / (end - start)


class Prices(NamedTuple):
    """Shadow prices above 0 by the budget's rule, and what each arm costs by them, in units of reward."""

    by_rule: Mapping[str, float]
    costs: FloatArray


def prices_for(
    arms: Sequence[Arm],
    owners: Sequence[PublishedPlaybook],
    rules: Rulebook,
    rates: Mapping[str, float],
    circumstances: Circumstances,
    now: datetime,
) -> Prices | None:
    """Return the shadow prices of the money that arms take; None where no budget binds.

    Args:
        rates: what a minor unit of a currency costs, in units of reward; budgets in others are not paced.
    """
    terms = {owner.key: rules.terms(owner).spends for owner in owners}
    paced = {key: [one for one in spends if rates.get(one.currency)] for key, spends in terms.items()}
    if not any(paced.values()):
        return None
    known: dict[str, float] = {}
    costs = np.zeros(len(arms))
    for place, (arm, owner) in enumerate(zip(arms, owners, strict=True)):
        for one in paced[owner.key]:
            if taken := one.takes(arm):
                if one.rule not in known:
                    known[one.rule] = price_now(one, circumstances.levels, now)
                costs[place] += known[one.rule] * taken * rates[one.currency]
    binding = {rule: price for rule, price in sorted(known.items()) if price > 0}
    return Prices(binding, costs) if binding else None


def price_now(spending: Spending, levels: Mapping[str, int], now: datetime) -> float:
    """Return the shadow price of a budget of which so much is taken; 0 for one without a pace."""
    elapsed = elapsed_of(spending, now)
    if elapsed is None:
        return 0.0
    return price_of(levels.get(spending.budget(now).key, 0), spending.limit, elapsed)
