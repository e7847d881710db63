"""Promotion and rollback from end to end: decisions by the policy in charge, kept as the service keeps them.

`decide` draws, the ledger keeps decisions and rewards, and the job `shadow` does the rest: it asks the other
policy in the shadow, gathers evidence, puts it in charge on proof, and rolls back on proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from audiences.identity.people import EveryoneAlone
from benchmarks.errors import BenchmarkError
from benchmarks.proving.task import Task, first_of, served, version_of
from learning import version_repository
from learning.challengers.gathering import Gathering
from learning.challengers.job import Watch
from learning.challengers.promoting import Promoting
from learning.challengers.rules import PromotionRules
from learning.challengers.shadowing import Shadowing
from learning.policy import LearnedPolicy
from learning.repository import REWARD_LABEL
from learning.rewards import Reward
from playbooks.decision import Decision
from playbooks.library import Library
from playbooks.library.changes import FOLDER
from playbooks.library.importing import import_library
from playbooks.library.loading import Loader
from playbooks.matching import Request, Snapshot, decide
from playbooks.models import DO_NOTHING
from playbooks.protection import Protection
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact

_RULES = {"promotion": "automatic", "live_window": "P14D", "guards": {"complaints": None, "opt_outs": None}}
# Facts of one transaction.
_PAGE = 400


class Story(NamedTuple):
    """After how many decisions the challenger was promoted, and after how many it was rolled back."""

    promoted: int
    rolled_back: int


class _Nobody:
    """The reach of everything where no audience was evaluated."""

    def of(self, audience: str | None) -> int | None:
        return None


class Contest:
    """Two policies over one task and one database."""

    def __init__(self, task: Task, database: Database, clock: SimulatedClock, seed: str) -> None:
        self._task, self._database, self._clock, self._seed = task, database, clock, seed
        self._library = database.write(lambda connection: _published(connection, task, clock))
        self._arms = {one.id: one for one in served(task.draft).arms}
        self._serving: dict[str, LearnedPolicy] = {}
        for name in task.specs:
            version = version_of(task, name)
            database.write(
                lambda c, version=version: version_repository.insert_version(c, version, clock.now()),  # type: ignore[misc]
                rows=2,
            )
            self._serving[name] = version.serve()
        rules = PromotionRules.model_validate(_RULES)
        gathering = Gathering(database, task.specs, rules, Protection(), EveryoneAlone())
        self.promoting = Promoting(database, clock, first_of(task), task.specs, rules, gathering)
        self.watch = Watch(database, clock, Shadowing(database, task.specs), self.promoting)
        self._turn = 0

    def turn(self) -> int:
        """Let every user come once, and their windows close; return how many came."""
        self._clock.move_to(self._clock.now() + timedelta(hours=1))
        now, charge = self._clock.now(), self.promoting.charge().policy
        policy = self._serving[charge]
        snapshot = Snapshot(self._library, policy, self._seed, costs=self._task.specs[charge].costs)
        facts: list[NewFact] = []
        for user, name in enumerate(self._task.users()):
            request = Request(new_id(now), name, self._task.placement, f"{self._turn}:{name}")
            features = self._task.features(user, self._turn)
            made = decide(snapshot, request, features=features, audiences=frozenset(), now=now)
            arm = None if made.arm == DO_NOTHING else self._arms[made.arm]
            facts += _told(made, self._task.earned(user, self._turn, arm))
        for start in range(0, len(facts), _PAGE):
            self._database.write(
                lambda c, some=facts[start : start + _PAGE]: ledger.append(c, some, now),  # type: ignore[misc]
                rows=_PAGE,
            )
        self._turn += 1
        self._clock.move_to(now + timedelta(days=7))
        return len(facts) // 2


def tell(task: Task, folder: Path, seed: int, turns: int) -> Story:
    """Let users come until the challenger is in charge, turn the world, and until it is not any more.

    Raises:
        BenchmarkError: after so many turns it was not promoted, or not rolled back.
    """
    database = Database(f"sqlite:///{folder / f'contest-{seed}.db'}")
    try:
        contest = Contest(task, database, SimulatedClock(task.start), f"seed-{seed}")
        promoted = _until(contest, "promoted", list(task.specs)[1], turns)
        task.turned = True
        return Story(promoted, _until(contest, "rolled_back", list(task.specs)[1], turns))
    finally:
        task.turned = False
        database.close()


def _until(contest: Contest, what: str, policy: str, turns: int) -> int:
    made = 0
    for _ in range(turns):
        made += contest.turn()
        report: Mapping[str, object] = contest.watch.run(asked=True)
        if report[what] is not None:
            if report[what] != policy:
                raise BenchmarkError(f"{report[what]} was {what}, and not {policy}")
            return made
    raise BenchmarkError(f"after {made} decisions {policy} was not {what}: {_why(contest)}")


def _why(contest: Contest) -> str:
    other = next(one for one in contest.promoting.specs if one != contest.promoting.charge().policy)
    found = contest.promoting.evidence(other)
    return f"{found.value} in [{found.low}, {found.high}]; {'; '.join(found.reasons)}"


def _told(made: Decision, earned: float) -> list[NewFact]:
    reward = Reward(
        decision_id=made.decision_id,
        placement=made.placement,
        policy=made.policy,
        playbook=made.playbook,
        arm=made.arm,
        acts=made.arm != DO_NOTHING,
        decided_at=made.decided_at,
        value=earned,
        outcome=None,
    )
    return [
        NewFact(Kind.DECISION, made.decision_id, made.placement, made.user_id, made.decided_at, made),
        NewFact(Kind.REWARD, made.decision_id, REWARD_LABEL, made.user_id, made.decided_at, reward),
    ]


def _published(connection: Connection, task: Task, clock: SimulatedClock) -> Library:
    import_library(connection, task.draft, _Nobody(), by=FOLDER, source=FOLDER, now=clock.now(), publish=True)
    return Loader().load(connection)
