"""A linear model that only serves: weights that a learner exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from learning.errors import BrokenWeights
from learning.models.value_model import FloatArray, check_finite, decode, pack, unpack


class _Wire(msgspec.Struct):
    kind: Literal["linear"]
    names: tuple[str, ...]
    weights: bytes
    intercept: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """prediction = min(high, max(low, row · weights + intercept)).

    Raises:
        BrokenWeights: weights that are not finite or not one for each name, or low >= high.
    """

    names: tuple[str, ...]
    weights: FloatArray
    intercept: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.weights.shape != (len(self.names),):
            raise BrokenWeights(f"weights of shape {self.weights.shape} for {len(self.names)} columns")
        check_finite("weights", np.append(self.weights, self.intercept))
        if not self.low < self.high:
            raise BrokenWeights(f"rewards can't lie between {self.low} and {self.high}")

    def predict(self, matrix: FloatArray) -> FloatArray:
        predictions: FloatArray = matrix @ self.weights + self.intercept
        return np.clip(predictions, self.low, self.high)

    def explain(self, row: FloatArray) -> dict[str, float]:
        parts = dict(zip(self.names, (row * self.weights).tolist(), strict=True))
        return {"": self.intercept, **parts}

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(
            _Wire("linear", self.names, pack(self.weights), self.intercept, self.low, self.high)
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Linear:
        wire: Any = decode(data, _Wire)
        return cls(wire.names, unpack(wire.weights), wire.intercept, wire.low, wire.high)
