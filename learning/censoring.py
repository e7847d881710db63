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
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

import numpy as np

# Successes from which delays are told; of fewer nothing is learned early.
FEWEST = 50
# Before so large a share has come, how much a zero says rests on a handful of quick successes.
_LEAST = 0.05


class Came(NamedTuple):
    """What a decision whose window has closed came to: its arm, and after which time it was a success."""

    arm: str
    delay: timedelta | None


class Course:
    """How successes come in the time after a decision, told by decisions whose windows have closed."""

    def __init__(self, closed: Iterable[Came]) -> None:
        self._decisions: Counter[str] = Counter()
        self._successes: Counter[str] = Counter()
        delays = []
        for arm, delay in closed:
            self._decisions[arm] += 1
            if delay is not None:
                self._successes[arm] += 1
                delays.append(delay.total_seconds())
        self._delays = np.sort(np.array(delays, dtype=np.float64))

    @property
    def known(self) -> bool:
        """Whether there were successes enough to tell delays by."""
        return len(self._delays) >= FEWEST

    def come(self, age: timedelta) -> float:
        """Return the share of successes that come within `age`, 0 where too few are known.

        >>> course = Course([Came("a", timedelta(hours=hour % 10)) for hour in range(100)])
        >>> course.come(timedelta(hours=4, minutes=30))
        0.5
        """
        if not self.known:
            return 0.0
        return float(np.searchsorted(self._delays, age.total_seconds(), side="right")) / len(self._delays)

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
            decisions, successes = self._decisions.total(), self._successes.total()
        return successes / decisions
