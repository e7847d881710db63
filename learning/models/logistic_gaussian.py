"""Bayesian logistic regression, learnt row by row: a Gaussian posterior of weights in log-odds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dger
from scipy.special import expit

from learning.errors import BrokenWeights
from learning.models.value_model import FloatArray, check_finite, decode, pack, unpack

# Newton's steps to the maximum along one row; each doubles the digits.
_STEPS = 50
_EXACT = 1e-12


class _Wire(msgspec.Struct):
    kind: Literal["logistic_gaussian"]
    names: tuple[str, ...]
    mean: bytes
    covariance: bytes
    rows: int
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class LogisticGaussian:
    """Posterior N(mean, covariance) of weights w, the last one the intercept, under
    E[(y − low) / (high − low)] = 1 / (1 + exp(−[x, 1] · w)).

    A row moves the mean to the maximum of the posterior with the last one as its prior, along covariance ·
    [x, 1], and adds its curvature there to the precision (Laplace's approximation of each row in turn;
    Spiegelhalter and Lauritzen, "Sequential updating of conditional probabilities on directed graphical
    structures", Networks 1990, 5). Rewards between the bounds count as that share of both outcomes.
    `rows` is how many were learnt.

    Raises:
        BrokenWeights: numbers that are not finite or of the wrong shape, or low >= high.
    """

    names: tuple[str, ...]
    mean: FloatArray
    covariance: FloatArray
    rows: int
    low: float
    high: float

    def __post_init__(self) -> None:
        size = len(self.names) + 1
        if self.mean.shape != (size,) or self.covariance.shape != (size, size):
            raise BrokenWeights(f"weights of shape {self.mean.shape} for {len(self.names)} columns")
        check_finite("weights", np.append(self.mean, self.covariance))
        if not self.low < self.high:
            raise BrokenWeights(f"rewards can't lie between {self.low} and {self.high}")
        if (np.diagonal(self.covariance) <= 0).any():
            raise BrokenWeights("a weight has no positive variance; scale the features down")

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
    ) -> LogisticGaussian:
        """Return a model that has seen nothing: weights about `weights`, each with variance 1 / `ridge`."""
        if ridge <= 0:
            raise BrokenWeights(f"the ridge must be above 0, not {ridge}")
        start = np.zeros(len(names)) if weights is None else weights
        return cls(names, np.append(start, intercept), np.eye(len(names) + 1) / ridge, 0, low, high)

    def learn(
        self, matrix: FloatArray, targets: FloatArray, importance: FloatArray | None = None
    ) -> LogisticGaussian:
        """Return the model after these rows, in their order; importance (n,) >= 0."""
        # By columns, so that BLAS adds to it where it lies.
        mean, covariance = self.mean.copy(), np.array(self.covariance, order="F")
        rows = np.column_stack([matrix, np.ones(len(matrix))])
        shares = ((targets - self.low) / (self.high - self.low)).tolist()
        counts = np.ones(len(rows)) if importance is None else importance
        for row, share, count in zip(rows, shares, counts.tolist(), strict=True):
            along = covariance @ row
            spread = float(row @ along)
            pull = _pull(float(row @ mean), spread, share, count)
            mean += along * pull
            chance = _expit(float(row @ mean))
            curvature = count * chance * (1 - chance)
            dger(-curvature / (1 + curvature * spread), along, along, a=covariance, overwrite_a=True)
        covariance = np.ascontiguousarray(covariance)
        return replace(self, mean=mean, covariance=covariance, rows=self.rows + len(rows))

    def faded(self, keep: float, prior: LogisticGaussian) -> LogisticGaussian:
        """Return the model with all it learnt on top of `prior` counting `keep` in [0, 1] as much."""
        return self._summed([(keep, self)], prior)

    def merged(self, others: Sequence[LogisticGaussian], prior: LogisticGaussian) -> LogisticGaussian:
        """Return the product of the posteriors, the prior counted once; close to having learnt all rows.

        Each is Gaussian only nearly, so this is not exact: see Tresp, "A Bayesian Committee Machine" (Neural
        Computation 2000).

        Raises:
            BrokenWeights: one of them has other columns.
        """
        if any(one.names != self.names for one in others):
            raise BrokenWeights("shards of other columns can't be merged")
        return self._summed([(1.0, one) for one in (self, *others)], prior)

    def predict(self, matrix: FloatArray) -> FloatArray:
        chances: FloatArray = expit(matrix @ self.mean[:-1] + self.mean[-1])
        return self.low + (self.high - self.low) * chances

    def deviation(self, matrix: FloatArray) -> FloatArray:
        """Of the expectation, to first order: the slope of the link times the deviation of the log-odds."""
        rows = np.column_stack([matrix, np.ones(len(matrix))])
        variance = np.einsum("ij,ij->i", rows @ self.covariance, rows)
        chances = expit(rows @ self.mean)
        slope: FloatArray = (self.high - self.low) * chances * (1 - chances)
        deviations: FloatArray = slope * np.sqrt(np.maximum(variance, 0.0))
        return deviations

    def explain(self, row: FloatArray) -> dict[str, float]:
        parts = dict(zip(self.names, (row * self.mean[:-1]).tolist(), strict=True))
        return {"": float(self.mean[-1]), **parts}

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(
            _Wire(
                "logistic_gaussian",
                self.names,
                pack(self.mean),
                pack(self.covariance),
                self.rows,
                self.low,
                self.high,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> LogisticGaussian:
        wire: Any = decode(data, _Wire)
        size = len(wire.names) + 1
        covariance = unpack(wire.covariance)
        if covariance.size != size * size:
            raise BrokenWeights(
                f"{covariance.size} covariances for {len(wire.names)} columns; the model is damaged"
            )
        return cls(
            wire.names, unpack(wire.mean), covariance.reshape(size, size), wire.rows, wire.low, wire.high
        )

    def _summed(
        self, parts: Sequence[tuple[float, LogisticGaussian]], prior: LogisticGaussian
    ) -> LogisticGaussian:
        """Return prior × Π (part / prior)^keep, in precisions and moments, where products are sums."""
        start, moment = prior._natural()
        precision, moments = start.copy(), moment.copy()
        for keep, part in parts:
            own, pulled = part._natural()
            precision += keep * (own - start)
            moments += keep * (pulled - moment)
        try:
            factor = cho_factor(precision, lower=True)
        except np.linalg.LinAlgError as error:
            raise BrokenWeights(f"the posteriors have no product ({error}); use a larger ridge") from error
        covariance = cho_solve(factor, np.eye(len(moments)))
        return replace(
            self,
            mean=cho_solve(factor, moments),
            covariance=(covariance + covariance.T) / 2,
            rows=prior.rows + sum(part.rows - prior.rows for _, part in parts),
        )

    def _natural(self) -> tuple[FloatArray, FloatArray]:
        """Return the precision, and precision · mean."""
        try:
            factor = cho_factor(self.covariance, lower=True)
        except np.linalg.LinAlgError as error:
            raise BrokenWeights(f"the covariance has no inverse ({error}); use a larger ridge") from error
        precision = cho_solve(factor, np.eye(len(self.mean)))
        return (precision + precision.T) / 2, cho_solve(factor, self.mean)


def _pull(at: float, spread: float, share: float, count: float) -> float:
    """Return g with g = count × (share − σ(at + spread × g)): the gradient at the maximum along a row.

    The right side falls as g grows, so there is one solution, and it lies within ±count.
    """
    below, above = count * (share - 1.0), count * share
    pull = 0.0
    for _ in range(_STEPS):
        chance = _expit(at + spread * pull)
        off = pull - count * (share - chance)
        if off > 0:
            above = pull
        else:
            below = pull
        step = off / (1 + count * spread * chance * (1 - chance))
        # Newton's step, or the middle where that would leave what is known of the solution.
        following = pull - step if below < pull - step < above else (below + above) / 2
        if abs(following - pull) <= _EXACT * max(count, 1.0):
            return following
        pull = following
    return pull


def _expit(number: float) -> float:
    """Return 1 / (1 + exp(−number)) of one number, for which NumPy's way takes ten times as long."""
    if number >= 0:
        return 1.0 / (1.0 + math.exp(-number))
    grown = math.exp(number)
    return grown / (1.0 + grown)
