"""A log to evaluate on: rounds another policy drew, whoever wrote them down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from learning.errors import InvalidRounds, UnreadableLog
from learning.evaluation.rounds import FloatArray

# A log of which more is wrong says something else than it seems to.
MOST_REFUSED = 0.05
_TOLD = 5
# How the doubt begins that a range of rewards takes away.
UNDECLARED = "nobody said how large a reward can be"


class Refused(msgspec.Struct, frozen=True):
    """A row that was left out: where it is, the column that is wrong, and why. Rows count from 1."""

    row: int
    column: str
    why: str

    def __str__(self) -> str:
        return f"row {self.row}, {self.column}: {self.why}"


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """n rounds over k actions, read and checked.

    `action` indexes `actions`. `action_dist` (n, k) is what the candidate of the log's author would have
    done, `estimated` (n, k) a reward model's predictions, `logged_dist` (n, k) the vectors the rounds were
    drawn from, `context` (n, d), `guards` (n,) by name what is worse the more there is of it. `owners`
    numbers the users from 0, `moments` are when rounds happened. `guard_bounds` bound guards by name; those
    without are taken to lie between what there was; `guard_units` are the currencies of guards that are
    money, in minor units.
    `low` and `high` bound the rewards; `declared` says that somebody said so.
    """

    actions: tuple[str, ...]
    action: NDArray[np.intp]
    rewards: FloatArray
    propensities: FloatArray
    action_dist: FloatArray | None = None
    estimated: FloatArray | None = None
    logged_dist: FloatArray | None = None
    context: FloatArray | None = None
    guards: Mapping[str, FloatArray] = field(default_factory=dict)
    guard_bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    guard_units: Mapping[str, str] = field(default_factory=dict)
    owners: NDArray[np.intp] | None = None
    moments: NDArray[np.datetime64] | None = None
    low: float = 0.0
    high: float = 1.0
    declared: bool = False
    refused: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if len(self.rewards) == 0:
            raise InvalidRounds("there are no rounds to judge on")

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def logged(self) -> FloatArray:
        """How often each action was logged, shape (k,)."""
        return np.bincount(self.action, minlength=len(self.actions)).astype(np.float64)

    def at_actions(self, matrix: FloatArray) -> FloatArray:
        """Return the matrix' value of each round's action, shape (n,)."""
        found: FloatArray = matrix[np.arange(len(self)), self.action]
        return found

    def only(self, rows: NDArray[np.bool_]) -> Log:
        """Return the rounds that are marked.

        Raises:
            InvalidRounds: there are none.
        """

        def part(table: Any) -> Any:
            return None if table is None else table[rows]

        return replace(
            self,
            action=self.action[rows],
            rewards=self.rewards[rows],
            propensities=self.propensities[rows],
            action_dist=part(self.action_dist),
            estimated=part(self.estimated),
            logged_dist=part(self.logged_dist),
            context=part(self.context),
            guards={name: values[rows] for name, values in self.guards.items()},
            owners=None if self.owners is None else np.unique(self.owners[rows], return_inverse=True)[1],
            moments=part(self.moments),
        )

    def between(self, low: float, high: float) -> Log:
        """Return the log with rewards declared to lie in [low, high].

        Raises:
            InvalidRounds: they do not.
        """
        if not low < high:
            raise InvalidRounds(f"rewards can't lie between {low:g} and {high:g}; name the lower bound first")
        outside = (self.rewards < low) | (self.rewards > high)
        if outside.any():
            where = int(np.argmax(outside))
            raise InvalidRounds(
                f"the reward {self.rewards[where]:g} of round {where + 1} lies outside of [{low:g}, {high:g}]"
            )
        notes = tuple(one for one in self.notes if not one.startswith(UNDECLARED))
        return replace(self, low=low, high=high, declared=True, notes=notes)


def reward_range(rewards: FloatArray) -> tuple[float, float]:
    """Return bounds of rewards nobody declared: [0, 1] if they fit, else from the smallest to the largest."""
    low, high = min(float(rewards.min()), 0.0), max(float(rewards.max()), 0.0)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high


def check_share(refused: Sequence[Refused], read: int, name: str) -> None:
    """Refuse a log of which too many rows are wrong.

    Raises:
        UnreadableLog: naming the first of them.
    """
    rows = len({one.row for one in refused})
    if read == 0:
        raise UnreadableLog(f"{name} has no rounds")
    if rows > MOST_REFUSED * read:
        first = "; ".join(str(one) for one in refused[:_TOLD])
        raise UnreadableLog(
            f"{rows} of {read} rows of {name} are wrong, more than {MOST_REFUSED:.0%}, so nothing is made of "
            f"the rest: {first}{' …' if len(refused) > _TOLD else ''}"
        )
