"""A linear-Gaussian model for each arm: nothing that is learnt of one says anything of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from learning.errors import BrokenWeights
from learning.models.linear_gaussian import LinearGaussian
from learning.models.value_model import FloatArray, decode


class _Wire(msgspec.Struct):
    kind: Literal["disjoint_gaussian"]
    names: tuple[str, ...]
    marks: tuple[int, ...]
    parts: tuple[bytes, ...]


@dataclass(frozen=True, eq=False)
class DisjointGaussian:
    """Ridge regression of each arm on the columns that are no marks.

    `marks` are the places of the one-hot columns that say whose row it is: a row belongs to the part of the
    first mark that is not 0, or to the last part, of the arms that have none. So there is one part more
    than there are marks. Li et al., "A Contextual-Bandit Approach to Personalized News Article
    Recommendation" (WWW 2010), 3.1.

    Raises:
        BrokenWeights: marks that are no columns, or not one part for each of them and one more.
    """

    names: tuple[str, ...]
    marks: tuple[int, ...]
    parts: tuple[LinearGaussian, ...]

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.marks) + 1:
            raise BrokenWeights(f"{len(self.parts)} models for {len(self.marks)} arms and the rest")
        if len(set(self.marks)) != len(self.marks) or not set(self.marks) <= set(range(len(self.names))):
            raise BrokenWeights(f"marks that are not among {len(self.names)} columns; the model is damaged")
        expected = tuple(self.names[place] for place in self._own)
        if any(part.names != expected for part in self.parts):
            raise BrokenWeights("the models of the arms weigh other columns than these; the model is damaged")

    @classmethod
    def prior(
        cls,
        names: tuple[str, ...],
        marks: Sequence[int],
        *,
        low: float,
        high: float,
        ridge: float,
        weights: FloatArray | None = None,
        intercept: float = 0.0,
    ) -> DisjointGaussian:
        """Return a model that has seen nothing; a mark's prior weight adds to its arm's intercept."""
        start = np.zeros(len(names)) if weights is None else weights
        own = [place for place in range(len(names)) if place not in set(marks)]
        columns = tuple(names[place] for place in own)

        def part(extra: float) -> LinearGaussian:
            return LinearGaussian.prior(
                columns, low=low, high=high, ridge=ridge, weights=start[own], intercept=intercept + extra
            )

        return cls(names, tuple(marks), (*(part(float(start[mark])) for mark in marks), part(0.0)))

    @property
    def low(self) -> float:
        return self.parts[0].low

    @property
    def high(self) -> float:
        return self.parts[0].high

    @property
    def count(self) -> float:
        """Sum of the importances of all rows learnt."""
        return sum(part.count for part in self.parts)

    def learn(
        self, matrix: FloatArray, targets: FloatArray, importance: FloatArray | None = None
    ) -> DisjointGaussian:
        """Return the model after these rows, each learnt by its arm's part."""
        parts = list(self.parts)
        for place, rows in self._shares(matrix):
            counts = None if importance is None else importance[rows]
            parts[place] = parts[place].learn(matrix[np.ix_(rows, self._own)], targets[rows], counts)
        return replace(self, parts=tuple(parts))

    def faded(self, keep: float, prior: DisjointGaussian) -> DisjointGaussian:
        """Return the model with all it learnt on top of `prior` counting `keep` in [0, 1] as much."""
        pairs = zip(self.parts, prior.parts, strict=True)
        return replace(self, parts=tuple(part.faded(keep, start) for part, start in pairs))

    def merged(self, others: Sequence[DisjointGaussian], prior: DisjointGaussian) -> DisjointGaussian:
        """Return what one model would have learnt from the rows of all; exact, as sums add.

        Raises:
            BrokenWeights: one of them has other columns or arms.
        """
        if any(one.names != self.names or one.marks != self.marks for one in others):
            raise BrokenWeights("shards of other columns or arms can't be merged")
        columns = zip(prior.parts, self.parts, *(one.parts for one in others), strict=True)
        return replace(self, parts=tuple(first.merged(rest, start) for start, first, *rest in columns))

    def predict(self, matrix: FloatArray) -> FloatArray:
        rows = matrix.reshape(-1, matrix.shape[-1])
        means = self._means[self._parts_of(rows)]
        raw: FloatArray = np.einsum("ij,ij->i", self._extended(rows), means)
        return np.clip(raw, self.low, self.high).reshape(matrix.shape[:-1])

    def deviation(self, matrix: FloatArray) -> FloatArray:
        variances, rows = np.empty(len(matrix)), self._extended(matrix)
        for place, own in self._shares(matrix):
            spread = rows[own] @ self.parts[place].root.T
            variances[own] = self.parts[place].noise * np.einsum("ij,ij->i", spread, spread)
        deviations: FloatArray = np.sqrt(variances)
        return deviations

    def explain(self, row: FloatArray) -> dict[str, float]:
        """As of any model; what an arm's own intercept adds to the rest's goes by the name of its mark."""
        place = int(self._parts_of(row[None, :])[0])
        part = self.parts[place]
        told = dict.fromkeys(self.names, 0.0) | part.explain(row[self._own])
        if place < len(self.marks):
            told[""] = self.parts[-1].intercept
            told[self.names[self.marks[place]]] = part.intercept - told[""]
        return told

    def to_bytes(self) -> bytes:
        parts = tuple(part.to_bytes() for part in self.parts)
        return msgspec.msgpack.encode(_Wire("disjoint_gaussian", self.names, self.marks, parts))

    @classmethod
    def from_bytes(cls, data: bytes) -> DisjointGaussian:
        wire: Any = decode(data, _Wire)
        return cls(wire.names, wire.marks, tuple(LinearGaussian.from_bytes(part) for part in wire.parts))

    @cached_property
    def _means(self) -> FloatArray:
        """Weights and intercept of each part, shape (parts, len(_own) + 1)."""
        return np.stack([np.append(part.weights, part.intercept) for part in self.parts])

    @cached_property
    def _own(self) -> NDArray[np.intp]:
        return np.setdiff1d(np.arange(len(self.names), dtype=np.intp), self.marks)

    def _parts_of(self, matrix: FloatArray) -> NDArray[np.intp]:
        marked = matrix[:, self.marks] != 0
        found: NDArray[np.intp] = np.where(marked.any(axis=1), marked.argmax(axis=1), len(self.marks))
        return found

    def _shares(self, matrix: FloatArray) -> Iterator[tuple[int, NDArray[np.intp]]]:
        parts = self._parts_of(matrix)
        for place in np.unique(parts).tolist():
            yield place, np.flatnonzero(parts == place)

    def _extended(self, matrix: FloatArray) -> FloatArray:
        """Return the columns that are no marks, and one of ones for the intercept."""
        rows = np.ones((len(matrix), len(self._own) + 1))
        rows[:, :-1] = matrix[:, self._own]
        return rows
