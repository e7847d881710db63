"""What a task has to say, so that policies can compete on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from learning.evaluation import Candidate, Log
from learning.evaluation.rounds import FloatArray
from learning.policy import LearnedPolicy
from learning.spec import PolicySpec
from learning.versions import PolicyVersion, cold_start
from playbooks.library import Draft, Library, PublishedPlaybook, expand
from playbooks.matching import Request, Snapshot, decide
from playbooks.models import Arm


class Run(NamedTuple):
    """A log, a candidate on it, and what both policies are worth per decision: the truth."""

    log: Log
    candidate: Candidate
    value: float
    logged: float


class Task(Protocol):
    """Users who are decided for, by policies of which the first is in charge at the start."""

    draft: Draft
    placement: str
    vocabularies: Mapping[str, Sequence[str]]
    specs: Mapping[str, PolicySpec]
    start: datetime
    # Whether the world is another by now, in which the first policy is better.
    turned: bool

    def runs(self, number: int, seed: int) -> Iterable[Run]:
        """Return logs that the first policy drew, seen by the second, with the truth of both."""
        ...

    def users(self) -> Sequence[str]:
        """Return who comes each time."""
        ...

    def features(self, user: int, turn: int) -> Mapping[str, Any]:
        """Return what is known of a user at a turn."""
        ...

    def earned(self, user: int, turn: int, arm: Arm | None) -> float:
        """Return what a user brings who is shown an arm, or nothing."""
        ...


class Vectors:
    """What two policies would do with a user, as the service decides: by `decide` and `vector_at`."""

    def __init__(self, task: Task) -> None:
        published = served(task.draft)
        self.library = Library((published,))
        self.arms: tuple[Arm, ...] = tuple(published.arms)
        first, second = (version_of(task, name).serve() for name in task.specs)
        self._snapshot = Snapshot(self.library, first, "proving", costs=task.specs[first_of(task)].costs)
        self._second: LearnedPolicy = second
        self._placement, self._now = task.placement, task.start

    def of(self, features: Mapping[str, Any]) -> tuple[FloatArray, FloatArray]:
        """Return the vectors of both over all arms in their order, doing nothing last."""
        request = Request("1", "user", self._placement, "1")
        made = decide(self._snapshot, request, features=features, audiences=frozenset(), now=self._now)
        arms = {one.id: one for one in self.arms}
        vector = self._second.vector_at(made, [arms[one] for one in made.arms[:-1]])
        places = [*([one.id for one in self.arms].index(name) for name in made.arms[:-1]), len(self.arms)]
        both = np.zeros((2, len(self.arms) + 1))
        both[0, places], both[1, places] = made.probabilities, vector
        return both[0], both[1]


def drawn_from(rng: np.random.Generator, vectors: FloatArray) -> NDArray[np.intp]:
    """Return a draw from each row of (n, k) probabilities."""
    places = (rng.random(len(vectors))[:, None] > vectors.cumsum(axis=1)).sum(axis=1)
    drawn: NDArray[np.intp] = np.minimum(places, vectors.shape[1] - 1)
    return drawn


def log_of(
    arms: Sequence[str],
    vectors: FloatArray,
    action: NDArray[np.intp],
    rewards: FloatArray,
    owners: NDArray[np.intp],
    low: float,
    high: float,
) -> Log:
    """Return the log of draws from `vectors`, shape (n, k)."""
    return Log(
        actions=tuple(arms),
        action=action,
        rewards=rewards,
        propensities=vectors[np.arange(len(action)), action],
        logged_dist=vectors,
        owners=np.unique(owners, return_inverse=True)[1],
        low=low,
        high=high,
        declared=True,
    )


def served(draft: Draft) -> PublishedPlaybook:
    """Return a draft's only playbook as it is served."""
    (document,) = draft.playbooks
    return PublishedPlaybook(document, 1, expand(document, draft.offers))


def version_of(task: Task, name: str) -> PolicyVersion:
    """Return the first version of a policy of the task, which serves its prior."""
    return cold_start(task.specs[name], task.vocabularies, task.start, after=None)


def first_of(task: Task) -> str:
    """Return the id of the policy that is in charge at the start."""
    return next(iter(task.specs))
