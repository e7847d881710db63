"""What exploring costs, and when a playbook has explored enough for the day. Pure.

The exploration loss of a decision is the best value less what its vector is expected to bring. It is the
playbooks' by the arms that make it: arm i costs p_i × (best − value_i), "do nothing" at the expense of whose
arm was best. It is counted in thousandths of a minor unit of money, rounded to the nearest, since a single
decision may cost less than a cent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from playbooks.constraints.counting import MOST_COUNTED, Budget
from playbooks.constraints.documents import Zone
from playbooks.constraints.windows import name_of
from playbooks.document import Document
from playbooks.money import Money

FloatArray = NDArray[np.float64]

# Parts of a minor unit that are counted.
PARTS = 1_000
# In minor units: its thousandths stay far below what counters count exactly.
_MOST = 10**12
_RULE = "exploration."


class ExplorationBudget(Document):
    """What exploring may cost a playbook per day of a time zone; when it is spent only the floor remains."""

    amount: Money
    per: Literal["day"] = "day"
    zone: Zone = "UTC"

    @field_validator("amount")
    @classmethod
    def _countable(cls, amount: Money) -> Money:
        if not 0 < amount.amount <= _MOST:
            raise ValueError(f"{amount} can't be a budget of a day: take more than nothing, up to {_MOST}")
        return amount

    def counted(self, playbook: str, now: datetime) -> Budget:
        """Return what is counted of a playbook now; it never refuses: what is full is asked before."""
        day = name_of("day", ZoneInfo(self.zone), now)
        return Budget(f"{_RULE}{playbook}", day, MOST_COUNTED - 1)

    @property
    def limit(self) -> int:
        """The amount in thousandths of a minor unit."""
        return self.amount.amount * PARTS


def is_exploration(budget: Budget) -> bool:
    """Whether it counts what exploring costs."""
    return budget.rule.startswith(_RULE)


class Exploring(NamedTuple):
    """A playbook's budget, what is taken of it, and what a minor unit is worth in units of reward."""

    budget: ExplorationBudget
    taken: int
    rate: float


def budgets_of(
    playbooks: Iterable[tuple[str, ExplorationBudget | None]],
    rates: Mapping[str, float],
    levels: Mapping[str, int],
    now: datetime,
) -> dict[str, Exploring]:
    """Return the budgets of those who compete; none in money of which nobody says what it is worth."""
    found = {}
    for name, budget in playbooks:
        rate = 0.0 if budget is None else rates.get(budget.amount.currency, 0.0)
        if budget is not None and rate:
            found[name] = Exploring(budget, levels.get(budget.counted(name, now).key, 0), rate)
    return found


def losses(
    values: FloatArray, probabilities: FloatArray, owners: Sequence[str], budgets: Mapping[str, Exploring]
) -> dict[str, int]:
    """Return what a vector's exploring costs each playbook with a budget, in thousandths of minor units.

    Args:
        values, probabilities: of all arms, "do nothing" (worth 0) last; shape (k,).
        owners: the playbook of each arm but "do nothing".

    >>> budget = ExplorationBudget(amount=Money(100, "EUR"))
    >>> known = {"p": Exploring(budget, 0, rate=0.01)}
    >>> losses(np.array([1.0, 0.5, 0.0]), np.array([0.8, 0.1, 0.1]), ["p", "p"], known)
    {'p': 15000}
    """
    if not owners or not budgets:
        return {}
    best = float(values.max())
    each = probabilities * (best - values)
    whose = [*owners, owners[int(values[:-1].argmax())]]
    found = dict.fromkeys(budgets, 0.0)
    for loss, owner in zip(each.tolist(), whose, strict=True):
        if owner in found:
            found[owner] += loss
    return {owner: round(loss / budgets[owner].rate * PARTS) for owner, loss in found.items() if loss > 0.0}


def spent(lost: Mapping[str, int], budgets: Mapping[str, Exploring]) -> list[str]:
    """Return the playbooks whose budgets have no room for what exploring would cost."""
    return sorted(one for one, loss in lost.items() if budgets[one].taken + loss > budgets[one].budget.limit)
