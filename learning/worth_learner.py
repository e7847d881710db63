"""Learning the chance of a success where it is known what one is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from learning.learner import Learner, Learnt, Task
from learning.models.known_worth import KnownWorth, without
from learning.models.value_model import ValueModel
from learning.rows import Rows


class WorthLearner:
    """Tells a learner of shares whether a decision earned anything, and not how much.

    A success is a reward above 0. Rewards are checked against the bounds of the task; the other learner sees
    1 or 0, and all columns but the one at `place`, which says what a success is worth.
    """

    def __init__(self, task: Task, place: int, start: Callable[[Task], Learner]) -> None:
        self._task = task
        self._place = place
        self._chances = start(of_chances(task, place))

    def fold(self, state: bytes | None, rows: Rows) -> Learnt:
        task = self._task
        rows.check(len(task.names), task.low, task.high)
        successes = Rows(
            matrix=np.delete(rows.matrix, self._place, axis=1),
            targets=(rows.targets > 0).astype(np.float64),
            propensities=rows.propensities,
            importance=rows.importance,
        )
        return self._valued(self._chances.fold(state, successes))

    def merge(self, base: bytes | None, states: Sequence[bytes]) -> Learnt:
        return self._valued(self._chances.merge(base, states))

    def _valued(self, learnt: Learnt) -> Learnt:
        task = self._task
        return Learnt(KnownWorth(task.names, self._place, learnt.model, task.low, task.high), learnt.state)

    def close(self) -> None:
        self._chances.close()


def of_chances(task: Task, place: int) -> Task:
    """Return the task of the model of chances: shares, by all columns but the one at a place."""
    marks = tuple(mark - (mark > place) for mark in task.marks)
    return Task(without(task.names, place), 0.0, 1.0, np.delete(task.weights, place), task.intercept, marks)


def with_worth(task: Task, place: int, prior: Callable[[Task], ValueModel]) -> KnownWorth:
    """Return the model of a task before anything was learnt."""
    return KnownWorth(task.names, place, prior(of_chances(task, place)), task.low, task.high)
