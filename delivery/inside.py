"""Those inside a version of a playbook when there is another: they finish it, move, or are let out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import msgspec

from delivery import repository
from delivery.causes import Cause, Moved, TakenOut
from delivery.errors import RunsLost
from delivery.executor import Executor
from delivery.models import Enrolment
from delivery.plans import Plan, Plans
from playbooks.suggesting import closest
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import TURN_ROWS

LET_OUT = "version_ended"


class RunsMoved(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the change fact: whose runs went where (`to` is null where they were ended), and how many."""

    playbook: str
    version: int
    to: int | None
    states: Mapping[str, str]
    runs: int
    by: str
    why: str


class Inside:
    """Runs by the version they are in; they finish on it unless something is done here."""

    def __init__(self, database: Database, clock: Clock, plans: Plans, executor: Executor) -> None:
        self._database, self._clock, self._plans, self._executor = database, clock, plans, executor

    def standing(self, playbook: str) -> dict[int, dict[str, int]]:
        """Return how many runs are in each state of each version."""
        with self._database.read() as connection:
            return repository.inside(connection, playbook)

    def move(self, playbook: str, version: int, to: int, states: Mapping[str, str], by: str, why: str) -> int:
        """Move the runs of a version into another one; return how many moved.

        A run comes to the state of the same name, or to the one that `states` gives for its own, as of when
        it came to where it is; states at which nothing is waited for do what they do now.

        Raises:
            UnknownVersion: there is no such version.
            RunsLost: somebody would have no place in the new version; nobody was moved.
        """
        with self._database.read() as connection:
            plan = self._plans.find(connection, playbook, to)
            found = repository.inside(connection, playbook).get(version, {})
            arms = repository.arms_inside(connection, playbook, version)
            paused = repository.paused(connection, playbook, version)
        if lost := list(_lost(plan, found, states)):
            raise RunsLost(f"nobody was moved: {'; '.join(lost)}")
        missing = sorted(
            {arm.id for arm in arms if arm.offer not in plan.offers or arm.content not in plan.contents}
        )
        if missing:
            raise RunsLost(
                f"nobody was moved: version {to} has no offer or content of {', '.join(missing)}, with which "
                "runs are under way"
            )
        if paused:
            raise RunsLost(f"nobody was moved: {paused} runs are paused; resume them first")
        return self._all(playbook, version, by, why, to=to, states=states)

    def let_out(self, playbook: str, version: int, by: str, why: str) -> int:
        """End the runs of a version wherever they are, with the result `version_ended`; return how many."""
        return self._all(playbook, version, by, why)

    def _all(
        self,
        playbook: str,
        version: int,
        by: str,
        why: str,
        *,
        to: int | None = None,
        states: Mapping[str, str] | None = None,
    ) -> int:
        total, last = 0, ""
        named = states or {}

        def cause(one: Enrolment) -> Cause:
            if to is None:
                return TakenOut(LET_OUT, self._clock.now())
            return Moved(named.get(one.state, one.state), to, self._clock.now())

        while True:
            claim = partial(repository.claim_inside, playbook=playbook, version=version, limit=TURN_ROWS)
            done = self._executor.apply_all(partial(claim, after=last), cause)
            if not done:
                break
            total, last = total + len(done), done[-1]
        now = self._clock.now()
        body = RunsMoved(playbook, version, to, named, total, by, why)
        fact = NewFact(Kind.CHANGE, new_id(now), "runs_moved" if to else "runs_ended", None, now, body)
        self._database.write(lambda connection: ledger.append(connection, [fact], now), rows=1)
        return total


def _lost(plan: Plan, found: Mapping[str, int], states: Mapping[str, str]) -> list[str]:
    known = plan.flow.states
    wrong = [
        f"the map leads from {old!r} to {new!r}, and there is no such state{closest(new, known)}"
        for old, new in states.items()
        if new not in known
    ]
    for state, runs in sorted(found.items()):
        if state not in states and state not in known:
            wrong.append(f"{runs} runs are in {state!r}, which version {plan.version} does not have: map it")
    return wrong
