"""Learning while windows are open: what has not come yet is no zero. Pure.

Of a decision of age e a success is seen with the share F(e) of all successes that have come by then. A
decision that has earned nothing yet is a failure only with some chance, so its zero counts

    F(e) × (1 − p) / (1 − p F(e)),

p being the chance of a success; a success that was seen counts 1. This is the importance weighting of Yasui,
Morishita, Fujita and Shibata, "A Feedback Shift Correction in Predicting Conversion Rates under Delayed
Feedback" (WWW 2020), 1 / F for a success and (1 − p) / (1 − p F) for a zero, times F(e), so that a decision
counts as much as is known of it and never more than one whose window has closed. In expectation successes and
zeros come to F(e) × p and F(e) × (1 − p): their ratio is that of closed windows, where zeros counted whole
would make it p F / (1 − p F).

Assumed is that delays are those of the decisions before, whatever was decided for whom; p is the share of
successes of the arm, whose error counts little: with p = 0.3, F = 0.5 and 0.2 taken for p, the chance comes
to 0.284 instead of 0.3, with whole zeros to 0.15.

In the first weeks of a goal hardly a window has closed, and only those successes are seen that came before
now: delays are truncated on the right, and the quick ones are seen too often. What is told of them is

    F(t) / F(T) = Π (1 − d(s) / n(s)) over delays s with t < s ≤ T,

d(s) being how many were s, and n(s) how many were at most s of decisions at least as old as s (Lagakos,
Barraj and De Gruttola, "Nonparametric analysis of truncated survival data, with application to AIDS",
Biometrika 1988). Of delays beyond T, the age that few decisions have reached, nothing is known: until they
are seen a success is one within T, and all chances are too small by the same factor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Successes from which delays are told; of fewer nothing is learned early.
FEWEST = 50
# So many successes of decisions that old tell what share of them was quicker.
_OLD = 20
# Before so large a share has come, how much a zero says rests on a handful of quick successes.
_LEAST = 0.05


# Outcomes that speak against a decision come after others: where so large a share of decisions has one, a
# success that was seen says too little.
_AGAINST = 0.01


class Came(NamedTuple):
    """What a decision whose window has closed came to: its arm, and after which time it was a success.

    `against`: an outcome spoke against it.
    """

    arm: str
    delay: timedelta | None
    against: bool = False


class Seen(NamedTuple):
    """What is known of a decision whose window is open: its arm, its age, when it was a success."""

    arm: str
    age: timedelta
    delay: timedelta | None
    against: bool = False


def weighed(closed: Sequence[Came], seen: Sequence[Seen]) -> list[float]:
    """Return how much each decision of an open window counts, by those of one goal.

    None counts anything while too few successes are known to tell delays by, or where outcomes that speak
    against a decision are no exception.
    """
    against = sum(one.against for one in closed) + sum(one.against for one in seen)
    if against and against >= _AGAINST * (len(closed) + len(seen)):
        return [0.0] * len(seen)
    course = Course(closed, seen)
    return [course.importance(one.arm, one.age, success=one.delay is not None) for one in seen]


class Course:
    """How successes come in the time after a decision.

    That is told by decisions whose windows have closed, and while those are too few by the open ones too.
    """

    def __init__(self, closed: Iterable[Came], seen: Iterable[Seen] = ()) -> None:
        past = list(closed)
        delays = np.array([one.delay.total_seconds() for one in past if one.delay is not None])
        self._decisions: dict[str, float] = defaultdict(float)
        self._successes: dict[str, float] = defaultdict(float)
        if len(delays) >= FEWEST:
            self._at, counts = np.unique(delays, return_counts=True)
            self._share = np.cumsum(counts) / len(delays)
        else:
            young = list(seen)
            self._at, self._share = _truncated(delays, young)
            for one in young:
                self._count(one.arm, self.come(one.age), one.delay)
        for came in past:
            self._count(came.arm, 1.0, came.delay)

    def _count(self, arm: str, known: float, delay: timedelta | None) -> None:
        """Count a decision for as much as is known of it."""
        if known >= _LEAST:
            self._decisions[arm] += known
            self._successes[arm] += delay is not None

    @property
    def known(self) -> bool:
        """Whether there were successes enough to tell delays by."""
        return len(self._at) > 0

    def come(self, age: timedelta) -> float:
        """Return the share of successes that come within `age`, 0 where too few are known.

        >>> course = Course([Came("a", timedelta(hours=hour % 10)) for hour in range(100)])
        >>> course.come(timedelta(hours=4, minutes=30))
        0.5
        """
        place = int(np.searchsorted(self._at, age.total_seconds(), side="right"))
        return float(self._share[place - 1]) if place else 0.0

    def importance(self, arm: str, age: timedelta, *, success: bool) -> float:
        """Return how much a decision of an open window counts, in [0, 1].

        >>> half = [Came("a", timedelta(hours=hour % 10)) for hour in range(100)]
        >>> course = Course(half + [Came("a", None)] * 100)
        >>> course.importance("a", timedelta(hours=4), success=True)
        1.0
        >>> round(course.importance("a", timedelta(hours=4), success=False), 4)
        0.3333
        """
        come = self.come(age)
        if come < _LEAST:
            return 0.0
        if success or come >= 1.0:
            return 1.0
        chance = self._chance(arm)
        return come * (1 - chance) / (1 - chance * come)

    def _chance(self, arm: str) -> float:
        decisions, successes = self._decisions[arm], self._successes[arm]
        if not decisions:
            decisions, successes = sum(self._decisions.values()), sum(self._successes.values())
        # Of a few young decisions more successes may have come than were to be expected.
        return min(1.0, successes / decisions)


def _truncated(whole: FloatArray, seen: Sequence[Seen]) -> tuple[FloatArray, FloatArray]:
    """Return delays in their order, and the shares of successes that come within each; none where few are.

    Args:
        whole: delays of successes whose windows have closed, in seconds.
        seen: decisions of open windows.
    """
    came = [(one.delay.total_seconds(), one.age.total_seconds()) for one in seen if one.delay is not None]
    delays, ages = np.array([*((one, np.inf) for one in whole), *came]).reshape(-1, 2).T
    delays, ages = delays[delays <= ages], ages[delays <= ages]
    nothing = np.zeros(0), np.zeros(0)
    if len(delays) < FEWEST:
        return nothing
    longest = np.sort(ages)[-_OLD]
    delays, ages = delays[delays <= longest], ages[delays <= longest]
    if not len(delays):
        return nothing
    at, counts = np.unique(delays, return_counts=True)
    # Who is younger than a delay was quicker.
    young = np.searchsorted(np.sort(ages), at, side="left")
    left = 1 - counts / (np.searchsorted(np.sort(delays), at, side="right") - young)
    shares = np.append(np.cumprod(left[:0:-1])[::-1], 1.0)
    return at, shares
