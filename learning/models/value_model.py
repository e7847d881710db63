"""The port every value model implements, and how its numbers are kept as bytes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol, Self, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from learning.errors import BrokenWeights

FloatArray = NDArray[np.float64]
T = TypeVar("T")


class ValueModel(Protocol):
    """Immutable and thread-safe. Rewards lie in [low, high]."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns it was made for, in their order."""
        ...

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return the expected reward of each row of `matrix`, shape (…, len(names)) → (…), within bounds."""
        ...

    def deviation(self, matrix: FloatArray) -> FloatArray | None:
        """Return the posterior standard deviation of each row's expectation, shape (n, len(names)) → (n,).

        None when the model knows no posterior.
        """
        ...

    def explain(self, row: FloatArray) -> dict[str, float]:
        """Return what each column adds to the prediction of one row, before bounds or link are applied.

        The intercept goes by the name "". The values sum to that raw prediction.
        """
        ...

    def to_bytes(self) -> bytes:
        """Return the model as bytes, exact to the last bit."""
        ...

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the model that `to_bytes` wrote.

        Raises:
            BrokenWeights: the bytes are not such a model or its weights are not finite.
        """
        ...


def pack(array: FloatArray) -> bytes:
    """Return the numbers as little-endian doubles, row by row."""
    return np.ascontiguousarray(array, dtype="<f8").tobytes()


def unpack(data: bytes) -> FloatArray:
    """Return what `pack` wrote, flat.

    Raises:
        BrokenWeights: the length is no whole number of doubles.
    """
    if len(data) % 8:
        raise BrokenWeights(f"{len(data)} bytes are no whole number of weights; the model is damaged")
    return np.frombuffer(data, dtype="<f8").astype(np.float64)


def decode(data: bytes, type_: type[T]) -> T:
    """Return msgpack bytes as a `type_`.

    Raises:
        BrokenWeights: they are not one.
    """
    try:
        return msgspec.msgpack.decode(data, type=type_)
    except msgspec.MsgspecError as error:
        raise BrokenWeights(f"the bytes are not a model: {error}") from error


class _Kind(msgspec.Struct):
    kind: str


def kind_of(data: bytes, known: Collection[Any]) -> str:
    """Return which kind of model the bytes hold.

    Raises:
        BrokenWeights: none of the known ones.
    """
    kind = decode(data, _Kind).kind
    if kind not in known:
        raise BrokenWeights(f"the bytes hold a model of the unknown kind {kind!r}")
    return kind


def check_finite(what: str, values: FloatArray) -> None:
    """Make sure that weights can be served.

    Raises:
        BrokenWeights: one is NaN or infinite.
    """
    broken = int(np.size(values) - np.isfinite(values).sum())
    if broken:
        raise BrokenWeights(f"{broken} of {np.size(values)} {what} are not finite; nothing was published")
