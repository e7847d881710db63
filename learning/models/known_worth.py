"""The chance of a success by another model, times what one is worth, which a column says beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np

from learning.errors import BrokenWeights
from learning.models.value_model import FloatArray, ValueModel, decode


class _Wire(msgspec.Struct):
    kind: Literal["known_worth"]
    names: tuple[str, ...]
    place: int
    chance: bytes
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class KnownWorth:
    """E[y] = w × P(success), cut to [low, high], with the worth w in the column at `place`.

    `chance` is a model over all other columns, in their order, whose predictions are shares. A two-part
    model (Duan et al., "A Comparison of Alternative Models for the Demand for Medical Care", JBES 1983) whose
    second part is known: nothing has to be learnt of how large a reward is.

    Raises:
        BrokenWeights: no such column, the chances are of other columns, or low >= high.
    """

    names: tuple[str, ...]
    place: int
    chance: ValueModel
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.place < len(self.names):
            raise BrokenWeights(f"the worth is in column {self.place} of {len(self.names)}")
        if self.chance.names != without(self.names, self.place):
            raise BrokenWeights("the model of chances weighs other columns than these; it is damaged")
        if not self.low < self.high:
            raise BrokenWeights(f"rewards can't lie between {self.low} and {self.high}")

    def predict(self, matrix: FloatArray) -> FloatArray:
        worth = matrix[..., self.place]
        return np.clip(worth * self.chance.predict(matrix[..., self._others]), self.low, self.high)

    def deviation(self, matrix: FloatArray) -> FloatArray | None:
        of_chance = self.chance.deviation(matrix[..., self._others])
        return None if of_chance is None else np.abs(matrix[..., self.place]) * of_chance

    def explain(self, row: FloatArray) -> dict[str, float]:
        """As of any model, in units of reward: what each column adds to the chance, times the worth."""
        worth = float(row[self.place])
        parts = self.chance.explain(row[self._others])
        return dict.fromkeys(("", *self.names), 0.0) | {name: worth * part for name, part in parts.items()}

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(
            _Wire("known_worth", self.names, self.place, self.chance.to_bytes(), self.low, self.high)
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> KnownWorth:
        from learning.models import model_from_bytes  # noqa: PLC0415 - one kind of model holds another

        wire: Any = decode(data, _Wire)
        return cls(wire.names, wire.place, model_from_bytes(wire.chance), wire.low, wire.high)

    @cached_property
    def _others(self) -> list[int]:
        return [place for place in range(len(self.names)) if place != self.place]


def without(names: tuple[str, ...], place: int) -> tuple[str, ...]:
    """Return all names but the one at a place."""
    return names[:place] + names[place + 1 :]
