"""The executor: starts enrolments, wakes them by events, and advances them when their time is up.

Each turn is one transaction: what was claimed, the new states, the effects, the facts and the place in the
ledger are kept together or not at all. So every cause is applied exactly once, also when the process dies.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from audiences.events import EventBody
from audiences.identity.people import EveryoneAlone, People
from delivery import repository
from delivery.effects import Effects, Step, started_fact, stuck
from delivery.errors import FlowBroken
from delivery.flow import Cause, Due, Happened, advance
from delivery.models import Effect, Enrolment, Report
from delivery.parking import park_runs, parked_runs, put_back_runs
from delivery.plans import Plan, Plans
from playbooks.controls import repository as controls_repository
from playbooks.decision import Decision
from playbooks.models import Arm
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.faultpoints import reached
from storage.ledger import Fact, Kind
from storage.pace import Pace
from storage.writer import TURN_ROWS

# The name under which the ledger keeps how far events were routed.
READER = "delivery.events"


class Executor:
    """Runs the flows of one database. Any number of executors may work side by side."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        plans: Plans,
        effects: Effects,
        people: People | None = None,
        *,
        batch: int = TURN_ROWS,
    ) -> None:
        """Wire the executor.

        Args:
            people: an event of any profile of a person is routed to the enrolments of all of them.
            batch: the most events or enrolments of a turn, at most `storage.writer.TURN_ROWS`.
        """
        self._people = people or EveryoneAlone()
        self._database = database
        self._clock = clock
        self._plans = plans
        self._effects = effects
        self._batch = batch
        self._routing = Pace(batch)
        self._advancing = Pace(batch)
        self._putting_back = Pace(batch)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Let what is under way end after its turn; what is left waits for the next process."""
        self._stopping.set()

    def start(self, connection: Connection, decision: Decision, arm: Arm) -> Enrolment:
        """Begin the run of a decision through its playbook's flow, in the decision's transaction.

        The enrolment carries the decision's id, so one decision starts one run.

        Raises:
            UnknownVersion: the library never published the decision's playbook version.
            FlowBroken: that version lacks the arm's offer or content.
        """
        plan = self._plans.find(connection, arm.playbook, decision.playbook_version or 0)
        if arm.offer not in plan.offers or arm.content not in plan.contents:
            raise FlowBroken(
                f"version {plan.version} of the playbook {plan.playbook!r} has no offer {arm.offer!r} with "
                f"content {arm.content!r}; decide and deliver by the same version"
            )
        enrolment = Enrolment(
            id=decision.decision_id,
            user_id=decision.user_id,
            playbook=plan.playbook,
            playbook_version=plan.version,
            decision_id=decision.decision_id,
            arm=arm,
            state=plan.flow.start,
            entered_at=decision.decided_at,
            due_at=decision.decided_at,
        )
        repository.add_enrolments(connection, [enrolment])
        ledger.append(connection, [started_fact(enrolment)], decision.decided_at)
        return enrolment

    def route_events(self) -> Report:
        """Apply the events recorded since the last time to their users' active enrolments.

        Within a turn a user's events are applied in the order in which they happened.
        """
        # Those that come in meanwhile are for the next time, or a busy service would never get to the rest.
        with self._database.read() as connection:
            head = ledger.head(connection)
        return self._until_short(partial(self._route, head=head))

    def advance_due(self) -> Report:
        """Advance the enrolments whose time is up at the present moment, each by one wait."""
        return self._until_short(partial(self._advance_due, now=self._clock.now()))

    def put_back(self) -> Report:
        """Let runs go on whose control was resumed: first through what happened meanwhile, in its order."""
        return self._until_short(self._put_back)

    def _put_back(self, connection: Connection) -> tuple[bool, Report]:
        position = repository.hold_reader(connection, READER)
        if position is None:
            return False, Report()
        return self._putting_back.turn(connection, partial(self._put_some_back, connection, position))

    def _put_some_back(self, connection: Connection, position: int, limit: int) -> tuple[int, Report]:
        found = parked_runs(connection, position, self._people, limit)
        put_back_runs(connection, found)
        woken = [
            (one.enrolment, causes)
            for one in found
            if one.facts and (causes := _causes(one.enrolment, one.facts))
        ]
        return len(found), self._apply(connection, woken)

    def _going(
        self, connection: Connection, found: Sequence[Enrolment], position: int | None = None
    ) -> list[Enrolment]:
        """Put aside the runs that a control stops, of those that were claimed; return the others.

        Args:
            position: up to where the ledger was routed to them; None: as far as it was routed.
        """
        controls = controls_repository.in_force(connection)
        if not controls:
            return list(found)
        stopped = [
            (one, control)
            for one in found
            if (control := controls.of_run(one.playbook, self._people.canonical(one.user_id))) is not None
        ]
        if position is None:
            position = ledger.position_of(connection, READER)
        aside = park_runs(connection, stopped, position)
        return [one for one in found if one.id not in aside]

    def _until_short(self, turn: Callable[[Connection], tuple[bool, Report]]) -> Report:
        total = Report()
        while True:
            more, report = self._database.write(turn, rows=self._batch)
            total += report
            if not more or self._stopping.is_set():
                return total

    def _route(self, connection: Connection, head: int) -> tuple[bool, Report]:
        return self._routing.turn(connection, partial(self._route_some, connection, head))

    def _route_some(self, connection: Connection, head: int, limit: int) -> tuple[int, Report]:
        if controls_repository.in_force(connection).everything() is not None:
            return 0, Report()
        position = repository.hold_reader(connection, READER)
        if position is None:
            return 0, Report()
        found = ledger.read_after(connection, position, kind=Kind.EVENT, limit=limit)
        facts = [fact for fact in found if fact.seq <= head]
        if not facts:
            return 0, Report()
        ledger.advance(connection, READER, facts[-1].seq, [Kind.EVENT])
        by_user: dict[str, list[Fact]] = {}
        for fact in sorted(facts, key=lambda fact: (fact.occurred_at, fact.seq)):
            if fact.user_id is not None:
                for profile in self._people.members(fact.user_id):
                    by_user.setdefault(profile, []).append(fact)
        woken = [
            (enrolment, causes)
            for enrolment in self._going(
                connection, repository.claim_of_users(connection, list(by_user)), position
            )
            if (causes := _causes(enrolment, by_user[enrolment.user_id]))
        ]
        report = self._apply(connection, woken)
        return len(facts), report + Report(events=len(facts))

    def _advance_due(self, connection: Connection, now: datetime) -> tuple[bool, Report]:
        return self._advancing.turn(connection, partial(self._advance_some, connection, now))

    def _advance_some(self, connection: Connection, now: datetime, limit: int) -> tuple[int, Report]:
        if controls_repository.in_force(connection).everything() is not None:
            return 0, Report()
        due = repository.claim_due(connection, now, limit)
        going = self._going(connection, due)
        return len(due), self._apply(connection, [(enrolment, _DUE) for enrolment in going])

    def _apply(self, connection: Connection, woken: Sequence[tuple[Enrolment, Sequence[Cause]]]) -> Report:
        steps = [self._step(connection, enrolment, causes) for enrolment, causes in woken]
        changed = [
            step for step, (before, _) in zip(steps, woken, strict=True) if step.enrolment is not before
        ]
        if not changed:
            return Report()
        report = self._effects.keep(connection, changed, self._clock.now())
        reached("executor.applied")
        return report

    def _step(self, connection: Connection, enrolment: Enrolment, causes: Sequence[Cause]) -> Step:
        plan: Plan | None = None
        effects: list[Effect] = []
        try:
            plan = self._plans.find(connection, enrolment.playbook, enrolment.playbook_version)
            for cause in causes:
                advanced = advance(plan.flow, enrolment, cause, self._clock.now())
                enrolment = advanced.enrolment
                effects += advanced.effects
        except NextplayError as error:
            return Step(stuck(enrolment, str(error)), plan, effects)
        return Step(enrolment, plan, effects)


_DUE = (Due(),)


def _causes(enrolment: Enrolment, facts: Sequence[Fact]) -> list[Cause]:
    """Return the events from the first one on that can concern the enrolment, none when none can."""
    due_at = enrolment.due_at
    for index, fact in enumerate(facts):
        if fact.label == enrolment.waiting_for or (due_at is not None and due_at <= fact.occurred_at):
            return [_happened(one) for one in facts[index:]]
    return []


def _happened(fact: Fact) -> Happened:
    body: EventBody = fact.decode(EventBody)
    return Happened(fact.label, fact.occurred_at, body.properties)
