"""Who of several models is in charge: that changes only by evidence, of predictions made before rewards."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from learning.errors import BrokenWeights
from learning.evidence import Evidence, needed

FloatArray = NDArray[np.float64]


class Succeeded(msgspec.Struct, frozen=True):
    """One change: who came to be in charge after how many rounds, and by which odds of those needed."""

    member: str
    former: str
    rounds: int
    odds: float
    needed: float


class Standing(msgspec.Struct, frozen=True):
    """All that a succession goes on from. `wealth` is of the bets on the others, as little-endian doubles."""

    in_charge: str
    rounds: int
    wealth: bytes


class Succession:
    """The first of its members is in charge at the beginning.

    Squared errors on what was drawn are the evidence: what exploration by a model loses is bounded by its
    errors on what it is shown (Foster and Rakhlin, "Beyond UCB", ICML 2020).

    >>> order = Succession(["first", "second"], 0.1)
    >>> [change.member for change in order.take(np.tile([0.5, 0.9], (40, 1)), np.ones(40))]
    ['second']
    >>> order.in_charge
    'second'
    """

    def __init__(self, names: Sequence[str], error: float, standing: Standing | None = None) -> None:
        """Begin, or go on from `standing`.

        Args:
            error: the chance in (0, 1) that a change rests on luck alone.

        Raises:
            BrokenWeights: the standing is of other members, or damaged.
        """
        self._names = list(names)
        self._needed = needed(len(names) - 1, error)
        self._rounds = 0
        self._charge = 0
        self._evidence = Evidence(len(names) - 1)
        if standing is not None:
            if standing.in_charge not in self._names:
                raise BrokenWeights(f"nobody of {', '.join(names)} is the {standing.in_charge!r} in charge")
            self._rounds = standing.rounds
            self._charge = self._names.index(standing.in_charge)
            self._evidence.restore(standing.wealth)

    @property
    def place(self) -> int:
        """The place of the member in charge."""
        return self._charge

    @property
    def in_charge(self) -> str:
        """The name of the member in charge."""
        return self._names[self._charge]

    @property
    def standing(self) -> Standing:
        """What to go on from."""
        return Standing(self.in_charge, self._rounds, self._evidence.kept)

    def take(self, expected: FloatArray, rewards: FloatArray) -> list[Succeeded]:
        """Take in rounds in their order; return who came to be in charge.

        Args:
            expected: of the drawn arms by each member, shape (n, members), made before the rewards.
            rewards: shape (n,); both as shares of the reward's bounds, in [0, 1].
        """
        changes: list[Succeeded] = []
        start = 0
        while start < len(rewards) and len(self._names) > 1:
            others = [place for place in range(len(self._names)) if place != self._charge]
            taken = self._evidence.add_until(
                expected[start:, self._charge], expected[start:, others], rewards[start:], self._needed
            )
            start += taken
            self._rounds += taken
            odds = self._evidence.odds
            if odds.max() >= self._needed:
                former, self._charge = self.in_charge, others[int(odds.argmax())]
                changes.append(
                    Succeeded(self.in_charge, former, self._rounds, float(odds.max()), self._needed)
                )
                self._evidence = Evidence(len(others))
        return changes
