"""Rows to learn from: the chosen arm's features and the reward it brought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learning.errors import InvalidRows

FloatArray = NDArray[np.float64]

# Features come out of `FeatureSet` within ±1e6; more than this would swamp 32-bit weights.
LARGEST_VALUE = 1e12
LARGEST_IMPORTANCE = 1e4


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """n rows in the order in which they are to be learnt.

    `matrix` (n, columns), `targets` (n,) rewards, `propensities` (n,) in (0, 1] of the chosen arms,
    `importance` (n,) in [0, 1e4].
    """

    matrix: FloatArray
    targets: FloatArray
    propensities: FloatArray
    importance: FloatArray

    def __len__(self) -> int:
        return len(self.targets)

    def part(self, piece: slice) -> Rows:
        """Return some of the rows."""
        return Rows(self.matrix[piece], self.targets[piece], self.propensities[piece], self.importance[piece])

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of all parts, at least one, in their order."""
        return cls(
            np.concatenate([one.matrix for one in parts]),
            np.concatenate([one.targets for one in parts]),
            np.concatenate([one.propensities for one in parts]),
            np.concatenate([one.importance for one in parts]),
        )

    def check(self, columns: int, low: float, high: float) -> None:
        """Make sure that a learner can take the rows; one infinite value leaves NaN weights for ever.

        Raises:
            InvalidRows: which of them is wrong and how; nothing was learnt.
        """
        n = len(self.targets)
        if self.matrix.shape != (n, columns):
            raise InvalidRows(f"a matrix of shape {self.matrix.shape} for {n} rows of {columns} columns")
        if self.targets.shape != (n,) or self.propensities.shape != (n,) or self.importance.shape != (n,):
            raise InvalidRows(f"{n} rows need one target, one propensity and one importance each")
        _refuse(
            "features",
            ~np.all(np.abs(self.matrix) <= LARGEST_VALUE, axis=1),
            f"not within ±{LARGEST_VALUE:g}",
        )
        _refuse("target", ~((self.targets >= low) & (self.targets <= high)), f"not within [{low}, {high}]")
        _refuse("propensity", ~((self.propensities > 0) & (self.propensities <= 1)), "not within (0, 1]")
        _refuse(
            "importance",
            ~((self.importance >= 0) & (self.importance <= LARGEST_IMPORTANCE)),
            f"not within [0, {LARGEST_IMPORTANCE:g}]",
        )


def _refuse(what: str, wrong: NDArray[np.bool_] | np.bool_, how: str) -> None:
    if wrong.any():
        raise InvalidRows(
            f"{int(wrong.sum())} of {wrong.size} rows have a {what} {how} (the first is row "
            f"{int(np.flatnonzero(wrong)[0])}); nothing was learnt"
        )
