"""A linear model that only serves: weights that a learner exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec
import numpy as np
from scipy.special import expit

from learning.errors import BrokenWeights
from learning.models.value_model import FloatArray, check_finite, decode, pack, unpack

Link = Literal["identity", "logistic"]


class _Wire(msgspec.Struct):
    kind: Literal["linear"]
    names: tuple[str, ...]
    weights: bytes
    intercept: float
    low: float
    high: float
    link: Link = "identity"


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """With z = row · weights + intercept, the prediction is min(high, max(low, z)) for the link `identity`
    and low + (high − low) / (1 + exp(−z)) for the link `logistic`.

    Raises:
        BrokenWeights: weights that are not finite or not one for each name, or low >= high.
    """

    names: tuple[str, ...]
    weights: FloatArray
    intercept: float
    low: float
    high: float
    link: Link = "identity"

    def __post_init__(self) -> None:
        if self.weights.shape != (len(self.names),):
            raise BrokenWeights(f"weights of shape {self.weights.shape} for {len(self.names)} columns")
        check_finite("weights", np.append(self.weights, self.intercept))
        if not self.low < self.high:
            raise BrokenWeights(f"rewards can't lie between {self.low} and {self.high}")
        if self.link not in get_args(Link):
            raise BrokenWeights(f"the link {self.link!r} is none of {', '.join(get_args(Link))}")

    def predict(self, matrix: FloatArray) -> FloatArray:
        raw: FloatArray = matrix @ self.weights + self.intercept
        if self.link == "logistic":
            return self.low + (self.high - self.low) * expit(raw)
        return np.clip(raw, self.low, self.high)

    def deviation(self, matrix: FloatArray) -> FloatArray | None:
        return None

    def explain(self, row: FloatArray) -> dict[str, float]:
        parts = dict(zip(self.names, (row * self.weights).tolist(), strict=True))
        return {"": self.intercept, **parts}

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(
            _Wire(
                "linear",
                self.names,
                pack(self.weights),
                self.intercept,
                self.low,
                self.high,
                self.link,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Linear:
        wire: Any = decode(data, _Wire)
        return cls(wire.names, unpack(wire.weights), wire.intercept, wire.low, wire.high, wire.link)
