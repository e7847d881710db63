"""What a policy earned in the market beside what could have been earned at the same moments."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from playbooks.decision import Decision

FloatArray = NDArray[np.float64]


@dataclass(slots=True)
class Tally:
    """Sums over decisions, in euros of expected net value: nothing of what is compared is a matter of luck.

    `single` has what each face value would have brought for everybody, `oracle` what the best one for each
    customer would; both at the moments, and of the customers, that the policy's own decisions led to.
    `realised` is what orders really brought.
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

    def add(self, worth: FloatArray, place: int | None, made: Decision | None = None) -> None:
        """Count a decision for a face value (its place; None: nothing), all of whose worths are known.

        Args:
            made: its record, where it is at hand.
        """
        if not self.decisions:
            self.single, self.drawn = np.zeros(len(worth) - 1), np.zeros(len(worth) - 1)
        self.decisions += 1
        self.policy += float(worth[0 if place is None else place + 1])
        self.oracle += float(worth[1:].max())
        self.nothing += float(worth[0])
        self.single += worth[1:]
        if made is not None:
            self.narrowed += bool(made.narrowed)
            self.explored += sum(made.explored.values())
        if place is None:
            self.idle += 1
        else:
            self.drawn[place] += 1

    @property
    def best_single(self) -> float:
        """What the best single face value for everybody would have brought."""
        return float(self.single.max())

    @property
    def way(self) -> float:
        """How far of the way from the best single face value to the oracle's choice the policy came."""
        return (self.policy - self.best_single) / (self.oracle - self.best_single)
