"""The port every learner implements: fold new rows into what was learnt before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from learning.errors import BrokenWeights
from learning.models import LinearGaussian, ValueModel
from learning.rows import FloatArray, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What comes out of a fold: the model to serve, and the state to go on from."""

    model: ValueModel
    state: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is to be learnt: columns, bounds of the reward, and the prior that training starts from."""

    names: tuple[str, ...]
    low: float
    high: float
    weights: FloatArray
    intercept: float


class Learner(Protocol):
    """Deterministic: equal state and rows give equal models, whatever happened to the process in between."""

    def fold(self, state: bytes | None, rows: Rows) -> Learnt:
        """Return the result of learning `rows`, in their order, on top of `state` (None: the prior).

        Raises:
            InvalidRows: rows that must not reach a learner; nothing was learnt.
            BrokenWeights: the state is damaged, or what came out is not finite.
            LearnerLost: its process can't be kept alive.
        """
        ...

    def close(self) -> None:
        """Let go of the process, if there is one."""
        ...


class GaussianLearner:
    """Linear-Gaussian learning in this process; a fold of some thousand rows takes milliseconds."""

    def __init__(self, task: Task, *, ridge: float, half_life: float | None = None) -> None:
        """`half_life` > 0 is after how many rows one counts half; None: all count alike."""
        self._task = task
        self._prior = gaussian_prior(task, ridge)
        self._half_life = half_life

    def fold(self, state: bytes | None, rows: Rows) -> Learnt:
        before = self._prior if state is None else LinearGaussian.from_bytes(state)
        if before.names != self._task.names:
            raise BrokenWeights(
                "the state was learnt on other columns than the policy has; start a new policy"
            )
        rows.check(len(self._task.names), self._task.low, self._task.high)
        importance = rows.importance
        if self._half_life is not None:
            # By the row and not by the fold, so that what is learnt does not depend on when it is.
            importance = importance * 0.5 ** (np.arange(len(rows))[::-1] / self._half_life)
            before = before.faded(0.5 ** (len(rows) / self._half_life), self._prior)
        with np.errstate(all="ignore"):
            after = before.learn(rows.matrix, rows.targets, importance)
        return Learnt(after, after.to_bytes())

    def close(self) -> None:
        pass


def gaussian_prior(task: Task, ridge: float) -> LinearGaussian:
    """Return the model of a task before anything was learnt, drawn to its prior weights by `ridge` > 0."""
    return LinearGaussian.prior(
        task.names,
        low=task.low,
        high=task.high,
        ridge=ridge,
        weights=task.weights,
        intercept=task.intercept,
    )
