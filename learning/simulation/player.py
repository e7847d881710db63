"""What takes part in a race: it is asked for a vector, and told what the drawn arm earned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known before the first round: how many arms and columns, bounds of rewards, and a seed."""

    arms: int
    columns: int
    low: float
    high: float
    seed: int

    def share(self, reward: float) -> float:
        """Return a reward as a share of its bounds, 0 to 1."""
        return (reward - self.low) / (self.high - self.low)


class Player(Protocol):
    """Deterministic for a seed. It is asked, then told, once each round."""

    def vector(self, context: FloatArray) -> FloatArray:
        """Return the probability of each arm, shape (d,) → (k,); the race adds the floor."""
        ...

    def learn(self, context: FloatArray, action: int, reward: float, vector: FloatArray) -> None:
        """Take in what the drawn arm earned; `vector` is what it was drawn from, the floor included."""
        ...


Make = Callable[[Setting], Player]


def best(scores: FloatArray) -> FloatArray:
    """Return the vector that draws the best arm; equally good ones share.

    >>> best(np.array([0.2, 0.5, 0.5])).tolist()
    [0.0, 0.5, 0.5]
    """
    top = scores >= scores.max()
    vector: FloatArray = top / top.sum()
    return vector
