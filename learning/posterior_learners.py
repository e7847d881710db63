"""Learners that keep a Gaussian posterior: ridge regression, whole or by arm, and logistic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

from learning.errors import BrokenWeights, LearnerRefused
from learning.learner import Learnt, Task
from learning.models import DisjointGaussian, LinearGaussian, LogisticGaussian, ValueModel
from learning.rows import FloatArray, Rows

# Rows of logistic regression that fade together; counted from the first row there ever was, so that what is
# learnt does not depend on when it is.
_TOGETHER = 100


class _Posterior(ValueModel, Protocol):
    def learn(
        self, matrix: FloatArray, targets: FloatArray, importance: FloatArray | None = None
    ) -> Self: ...
    def faded(self, keep: float, prior: Self) -> Self: ...
    def merged(self, others: Sequence[Self], prior: Self) -> Self: ...
    @classmethod
    def from_bytes(cls, data: bytes) -> Self: ...


Model = TypeVar("Model", bound=_Posterior)


class _PosteriorLearner(ABC, Generic[Model]):
    """What they share: the model that is served is the state to go on from."""

    def __init__(self, task: Task, prior: Model, half_life: float | None) -> None:
        self._task = task
        self._prior = prior
        self._half_life = half_life

    def fold(self, state: bytes | None, rows: Rows) -> Learnt:
        before = self._prior if state is None else self._read(state)
        rows.check(len(self._task.names), self._task.low, self._task.high)
        with np.errstate(all="ignore"):
            after = self._learn(before, rows)
        return Learnt(after, after.to_bytes())

    def merge(self, base: bytes | None, states: Sequence[bytes]) -> Learnt:
        if self._half_life is not None:
            raise LearnerRefused(
                "shards can't be merged with a half-life: which rows are the later ones is not known"
            )
        if not states:
            raise BrokenWeights("there is no shard to merge")
        first, *others = [self._read(state) for state in states]
        merged = first.merged(others, self._prior if base is None else self._read(base))
        return Learnt(merged, merged.to_bytes())

    def close(self) -> None:
        pass

    def _read(self, state: bytes) -> Model:
        model = type(self._prior).from_bytes(state)
        if model.names != self._task.names:
            raise BrokenWeights(
                "the state was learnt on other columns than the policy has; start a new policy"
            )
        return model

    @abstractmethod
    def _learn(self, before: Model, rows: Rows) -> Model:
        """Return the model after these rows, which were checked."""


class _Summed(_PosteriorLearner[Model]):
    """Models that are sums over rows: what is learnt does not depend on how the rows come."""

    def _learn(self, before: Model, rows: Rows) -> Model:
        importance = rows.importance
        if self._half_life is not None:
            # By the row and not by the fold, so that what is learnt does not depend on when it is.
            importance = importance * 0.5 ** (np.arange(len(rows))[::-1] / self._half_life)
            before = before.faded(0.5 ** (len(rows) / self._half_life), self._prior)
        return before.learn(rows.matrix, rows.targets, importance)


class GaussianLearner(_Summed[LinearGaussian]):
    """Linear-Gaussian learning; a fold of some thousand rows takes milliseconds."""

    def __init__(self, task: Task, *, ridge: float, half_life: float | None = None) -> None:
        """`half_life` > 0 is after how many rows one counts half; None: all count alike."""
        super().__init__(task, gaussian_prior(task, ridge), half_life)


class DisjointLearner(_Summed[DisjointGaussian]):
    """Linear-Gaussian learning, of each arm by itself; the task's marks tell arms apart."""

    def __init__(self, task: Task, *, ridge: float, half_life: float | None = None) -> None:
        """`half_life` > 0 is after how many rows, of whichever arm, one counts half."""
        super().__init__(task, disjoint_prior(task, ridge), half_life)


class LogisticLearner(_PosteriorLearner[LogisticGaussian]):
    """Logistic learning, row by row: some 20 µs each at 60 columns."""

    def __init__(self, task: Task, *, ridge: float, half_life: float | None = None) -> None:
        """`half_life` > 0 is after how many rows one counts half; None: all count alike."""
        super().__init__(task, logistic_prior(task, ridge), half_life)

    def _learn(self, before: LogisticGaussian, rows: Rows) -> LogisticGaussian:
        model, start = before, 0
        while start < len(rows):
            room = len(rows) if self._half_life is None else _TOGETHER - model.rows % _TOGETHER
            piece = slice(start, start + room)
            model = model.learn(rows.matrix[piece], rows.targets[piece], rows.importance[piece])
            start += room
            if self._half_life is not None and model.rows % _TOGETHER == 0:
                model = model.faded(0.5 ** (_TOGETHER / self._half_life), self._prior)
        return model


def gaussian_prior(task: Task, ridge: float) -> LinearGaussian:
    """Return the model of a task before anything was learnt, drawn to its prior weights by `ridge` > 0."""
    return LinearGaussian.prior(task.names, **_start(task, ridge))


def disjoint_prior(task: Task, ridge: float) -> DisjointGaussian:
    """Return the models of a task's arms before anything was learnt, all drawn to its prior weights."""
    return DisjointGaussian.prior(task.names, task.marks, **_start(task, ridge))


def logistic_prior(task: Task, ridge: float) -> LogisticGaussian:
    """Return the model of a task before anything was learnt; its prior weights are in log-odds."""
    return LogisticGaussian.prior(task.names, **_start(task, ridge))


def _start(task: Task, ridge: float) -> dict[str, Any]:
    return {
        "low": task.low,
        "high": task.high,
        "ridge": ridge,
        "weights": task.weights,
        "intercept": task.intercept,
    }
