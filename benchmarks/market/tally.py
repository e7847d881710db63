"""What a policy earned in the market beside what could have been earned at the same moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(slots=True)
class Tally:
    """Sums over decisions, in euros of expected net value: nothing of what is compared is a matter of luck.

    `single` has what each face value would have brought for everybody, `oracle` what the best one for each
    customer would; both at the moments, and of the customers, that the policy's own decisions led to.
    `realised` is what orders really brought; `explored` what exploring was expected to cost, in thousandths
    of cents, `narrowed` of how many it would have cost more than the day's budget had left.
    """

    decisions: int = 0
    policy: float = 0.0
    oracle: float = 0.0
    nothing: float = 0.0
    idle: int = 0
    narrowed: int = 0
    explored: int = 0
    realised: float = 0.0
    single: FloatArray = field(default_factory=lambda: np.zeros(0))
    drawn: FloatArray = field(default_factory=lambda: np.zeros(0))

    def add(self, worth: FloatArray, places: Sequence[int | None]) -> None:
        """Count decisions for face values (their places; None: nothing), whose worths (n, k) are known."""
        if not self.decisions:
            self.single, self.drawn = np.zeros(worth.shape[1] - 1), np.zeros(worth.shape[1] - 1)
        taken = np.array([0 if place is None else place + 1 for place in places], dtype=np.intp)
        self.decisions += len(places)
        self.policy += float(np.take_along_axis(worth, taken[:, None], axis=1).sum())
        self.oracle += float(worth[:, 1:].max(axis=1).sum())
        self.nothing += float(worth[:, 0].sum())
        self.single += worth[:, 1:].sum(axis=0)
        self.idle += int((taken == 0).sum())
        self.drawn += np.bincount(taken, minlength=worth.shape[1])[1:]

    @property
    def best_single(self) -> float:
        """What the best single face value for everybody would have brought."""
        return float(self.single.max())

    @property
    def way(self) -> float:
        """How far of the way from the best single face value to the oracle's choice the policy came."""
        return (self.policy - self.best_single) / (self.oracle - self.best_single)
