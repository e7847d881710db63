"""A linear-Gaussian model: ridge regression whose sums are kept, so that learning is adding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from learning.errors import BrokenWeights
from learning.models.value_model import FloatArray, check_finite, decode, pack, unpack


class _Wire(msgspec.Struct):
    kind: Literal["linear_gaussian"]
    names: tuple[str, ...]
    precision: bytes
    moment: bytes
    squares: float
    count: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """Posterior of weights w, the last one the intercept, under y = [x, 1] · w + noise.

    precision = ridge · I + Σ c [x, 1][x, 1]ᵀ and moment = ridge · prior + Σ c y [x, 1] with importances c;
    the mean solves precision · w = moment. `squares` is ridge · |prior|² + Σ c y², `count` Σ c.
    Bishop, "Pattern Recognition and Machine Learning" (2006), 3.3.

    Raises:
        BrokenWeights: sums that are not finite or of the wrong shape, or low >= high.
    """

    names: tuple[str, ...]
    precision: FloatArray
    moment: FloatArray
    squares: float
    count: float
    low: float
    high: float
    _mean: FloatArray = field(init=False, repr=False)
    _factor: tuple[FloatArray, bool] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = len(self.names) + 1
        if self.precision.shape != (size, size) or self.moment.shape != (size,):
            raise BrokenWeights(f"sums of shape {self.precision.shape} for {len(self.names)} columns")
        check_finite("sums", np.append(self.precision, self.moment))
        if not self.low < self.high:
            raise BrokenWeights(f"rewards can't lie between {self.low} and {self.high}")
        try:
            factor = cho_factor(self.precision, lower=True)
        except np.linalg.LinAlgError as error:
            raise BrokenWeights(f"the sums have no solution ({error}); use a larger ridge") from error
        object.__setattr__(self, "_factor", factor)
        object.__setattr__(self, "_mean", cho_solve(factor, self.moment))

    @classmethod
    def prior(
        cls,
        names: tuple[str, ...],
        *,
        low: float,
        high: float,
        ridge: float,
        weights: FloatArray | None = None,
        intercept: float = 0.0,
    ) -> LinearGaussian:
        """Return a model that has seen nothing and is drawn to `weights` with the strength `ridge` > 0."""
        if ridge <= 0:
            raise BrokenWeights(f"the ridge must be above 0, not {ridge}")
        start = np.zeros(len(names)) if weights is None else weights
        precision = ridge * np.eye(len(names) + 1)
        mean = np.append(start, intercept)
        return cls(names, precision, ridge * mean, ridge * float(mean @ mean), 0.0, low, high)

    def learn(
        self, matrix: FloatArray, targets: FloatArray, importance: FloatArray | None = None
    ) -> LinearGaussian:
        """Return the model after these rows: matrix (n, len(names)), targets (n,), importance (n,) >= 0."""
        rows = np.column_stack([matrix, np.ones(len(matrix))])
        weighted = rows if importance is None else rows * importance[:, None]
        counts = np.ones(len(rows)) if importance is None else importance
        return LinearGaussian(
            self.names,
            self.precision + rows.T @ weighted,
            self.moment + weighted.T @ targets,
            self.squares + float(counts @ targets**2),
            self.count + float(counts.sum()),
            self.low,
            self.high,
        )

    def faded(self, keep: float, prior: LinearGaussian) -> LinearGaussian:
        """Return the model with all it learnt on top of `prior` counting `keep` in [0, 1] as much."""
        return LinearGaussian(
            self.names,
            prior.precision + keep * (self.precision - prior.precision),
            prior.moment + keep * (self.moment - prior.moment),
            prior.squares + keep * (self.squares - prior.squares),
            keep * self.count,
            self.low,
            self.high,
        )

    def merged(self, others: Sequence[LinearGaussian], prior: LinearGaussian) -> LinearGaussian:
        """Return what one model would have learnt on top of `prior` from the rows of all; exact, as sums add.

        Raises:
            BrokenWeights: one of them has other columns.
        """
        if any(one.names != self.names for one in others):
            raise BrokenWeights("shards of other columns can't be merged")
        parts = (self, *others)
        return LinearGaussian(
            self.names,
            sum((one.precision - prior.precision for one in parts), prior.precision),
            sum((one.moment - prior.moment for one in parts), prior.moment),
            sum((one.squares - prior.squares for one in parts), prior.squares),
            sum((one.count - prior.count for one in parts), prior.count),
            self.low,
            self.high,
        )

    @property
    def weights(self) -> FloatArray:
        """Posterior mean of the weights, shape (len(names),)."""
        return self._mean[:-1]

    @property
    def intercept(self) -> float:
        """Posterior mean of the intercept."""
        return float(self._mean[-1])

    def predict(self, matrix: FloatArray) -> FloatArray:
        predictions: FloatArray = matrix @ self._mean[:-1] + self._mean[-1]
        return np.clip(predictions, self.low, self.high)

    @property
    def noise(self) -> float:
        """Variance of a reward about its expectation, above 0.

        The expectation of an inverse-gamma posterior whose prior is one row of the largest variance that
        rewards in [low, high] can have, (high - low)² / 4 (Popoviciu, 1935).
        """
        # The residuals and the pull of the prior; rounding may leave less than nothing.
        unexplained = max(0.0, self.squares - float(self._mean @ self.moment))
        return ((self.high - self.low) ** 2 / 4 + unexplained) / (1 + self.count)

    def deviation(self, matrix: FloatArray) -> FloatArray:
        spread = matrix @ self.root[:, :-1].T + self.root[:, -1]
        deviations: FloatArray = np.sqrt(self.noise * np.einsum("ij,ij->i", spread, spread))
        return deviations

    @cached_property
    def root(self) -> FloatArray:
        """R with RᵀR the inverse of the precision, so that |R x|² is the variance of x · w over the noise."""
        size = len(self.moment)
        root: FloatArray = solve_triangular(np.tril(self._factor[0]), np.eye(size), lower=True)
        return root

    def explain(self, row: FloatArray) -> dict[str, float]:
        parts = dict(zip(self.names, (row * self.weights).tolist(), strict=True))
        return {"": self.intercept, **parts}

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(
            _Wire(
                "linear_gaussian",
                self.names,
                pack(self.precision),
                pack(self.moment),
                self.squares,
                self.count,
                self.low,
                self.high,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> LinearGaussian:
        wire: Any = decode(data, _Wire)
        size = len(wire.names) + 1
        precision = unpack(wire.precision)
        if precision.size != size * size:
            raise BrokenWeights(f"{precision.size} sums for {len(wire.names)} columns; the model is damaged")
        return cls(
            wire.names,
            precision.reshape(size, size),
            unpack(wire.moment),
            wire.squares,
            wire.count,
            wire.low,
            wire.high,
        )
