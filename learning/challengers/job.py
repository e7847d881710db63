"""The job `shadow`: vectors of who is not in charge, evidence, promotion or rollback, scores of claims."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog

from learning.challengers import repository
from learning.challengers.promoting import Promoting, scored
from learning.challengers.scoring import score_estimates, tidy
from learning.challengers.shadowing import Shadowing
from learning.errors import LearningError
from learning.training import Training
from storage.clock import Clock
from storage.engine import Database

_log = structlog.get_logger(__name__)


def learn_all(trainings: Sequence[Training], now: datetime) -> dict[str, Any]:
    """Let every policy learn; return what came of the first, and the versions of the others by policy.

    A challenger that can't learn does not keep the others from it: the log says so.

    Raises:
        LearningError: the first one can't (see `Training.learn`).
    """
    first, *others = trainings
    version, learnt = first.learn(now), {}
    for one in others:
        try:
            learnt[one.policy] = one.learn(now).version
        except LearningError as error:
            _log.error("policy did not learn", policy=one.policy, error=str(error))
    return {
        "policy": version.version,
        "trained": version.trained,
        "metrics": dict(version.metrics),
        "challengers": learnt,
    }


class Watch:
    """Watches over the policies of one library; one process at a time."""

    def __init__(self, database: Database, clock: Clock, shadowing: Shadowing, promoting: Promoting) -> None:
        self._database, self._clock = database, clock
        self._shadowing, self._promoting = shadowing, promoting
        # What evidence was last made of: the newest reward, and who is in charge.
        self._seen: tuple[int, int] | None = None

    def run(self, *, asked: bool) -> dict[str, Any]:
        """Do it; return how many vectors were made and claims scored, and who was promoted or rolled back.

        Args:
            asked: gather evidence even if nothing is new.
        """
        made = self._shadowing.run()
        report: dict[str, Any] = {"vectors": made, "promoted": None, "rolled_back": None, "scored": 0}
        with self._database.read() as connection:
            charge = repository.charge(connection, self._promoting.slot)
            seen = repository.newest_reward(connection), charge.number
        if not asked and not made and seen == self._seen:
            return report
        now = self._clock.now()
        # Also a policy without challengers is evaluated, and keeps its promise or not.
        report["scored"] = score_estimates(self._database, self._promoting, now)
        if len(self._promoting.specs) > 1:
            report["scored"] += scored(self._database, self._promoting, now)
            report |= self._promoting.settle()
            tidy(self._database, self._promoting, now)
        self._seen = seen
        return report
