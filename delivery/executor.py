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

from audiences.identity.people import EveryoneAlone, People
from delivery import repository
from delivery.causes import Cause, Due
from delivery.deciding import DecideAgain
from delivery.effects import Effects, started_fact
from delivery.errors import FlowBroken, UnknownEnrolment
from delivery.models import Enrolment, Report
from delivery.parking import anything_resumed, going, parked_runs, put_back_runs
from delivery.plans import Plan, Plans
from delivery.reentry import may_enter, rule_of
from delivery.routing import READER, ROUTED, causes_of, fitting
from delivery.seeing import Sight
from delivery.stepping import Stepper
from delivery.view import Strangers, Views
from playbooks.controls.repository import in_force
from playbooks.decision import Decision
from playbooks.models import Arm
from storage import ledger, readers
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.faultpoints import reached
from storage.ledger import Fact
from storage.pace import A_FEW, Pace
from storage.writer import TURN_ROWS, Lane

Also = Callable[[Connection, Enrolment, Enrolment], None]


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
        views: Views | None = None,
        decide_again: DecideAgain | None = None,
        batch: int = TURN_ROWS,
    ) -> None:
        """Wire the executor.

        Args:
            people: an event of any profile of a person is routed to the enrolments of all of them.
            views: shows users to flows that ask for them.
            decide_again: asks the policy for flows that have it decide again.
            batch: the most events or enrolments of a turn, at most `storage.writer.TURN_ROWS`.
        """
        self._people = people or EveryoneAlone()
        self._database = database
        self._clock = clock
        self._plans = plans
        self._effects = effects
        self._views = views or Strangers()
        self._stepper = Stepper(plans, clock, decide_again)
        self._batch = batch
        self._routing = Pace(batch, A_FEW)
        self._advancing = Pace(batch, A_FEW)
        self._putting_back = Pace(batch)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Let what is under way end after its turn; what is left waits for the next process."""
        self._stopping.set()

    def start(self, connection: Connection, decided: Sequence[tuple[Decision, Arm]]) -> None:
        """Begin the runs of decisions through their playbooks' flows, in the decisions' transaction.

        An enrolment carries its decision's id, so one decision starts one run.

        Raises:
            UnknownVersion: the library never published the decision's playbook version.
            FlowBroken: that version lacks the arm's offer or content.
        """
        if not decided:
            return
        begun = [self._begun(connection, decision, arm) for decision, arm in decided]
        repository.add_enrolments(connection, [enrolment for enrolment, _ in begun])
        ledger.append(connection, [started_fact(enrolment) for enrolment, _ in begun], begun[0][0].entered_at)
        for enrolment, plan in begun:
            self._effects.begin(connection, enrolment, plan.tags)

    def _begun(self, connection: Connection, decision: Decision, arm: Arm) -> tuple[Enrolment, Plan]:
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
            started_at=decision.decided_at,
        )
        return enrolment, plan

    def route_events(self) -> Report:
        """Apply the events recorded since the last time to their users' active enrolments.

        Within a turn a user's events are applied in the order in which they happened.
        """
        # Those that come in meanwhile are for the next time, or a busy service would never get to the rest.
        with self._database.read() as connection:
            position = readers.position_of(connection, READER)
            if not ledger.read_after(connection, position, kind=ROUTED, limit=1):
                return Report()
            head = ledger.head(connection)
        return self._until_short(partial(self._route, head=head))

    def advance_due(self) -> Report:
        """Advance the enrolments whose time is up at the present moment, each by one wait."""
        now, total, sight = self._clock.now(), Report(), self._sight()
        if not repository.anything_due(self._database, now):
            return total
        since: datetime | None = None
        while True:
            work = partial(self._advance_due, sight=sight, now=now, since=since)
            more, until, report = self._database.write(work, rows=self._batch, forced=False)
            total += report
            # At the end once more from the start: what another worker had then, or what became due since.
            if self._stopping.is_set() or not (sight.look() or more or since is not None):
                return total
            since = until

    def put_back(self) -> Report:
        """Let runs go on whose control was resumed: first through what happened meanwhile, in its order."""
        with self._database.read() as connection:
            if not anything_resumed(connection):
                return Report()
        return self._until_short(self._put_back)

    def apply(self, enrolment_id: str, cause: Cause, also: Also | None = None) -> Enrolment:
        """Apply what a person did to an enrolment; return the enrolment as it is then.

        Args:
            also: called with the enrolment before and after, in the transaction; what it raises undoes all.

        Raises:
            UnknownEnrolment: there is none with this id.
        """
        sight = self._sight()
        while True:
            work = partial(self._apply_one, enrolment_id=enrolment_id, cause=cause, also=also, sight=sight)
            done = self._database.write(work, rows=4, lane=Lane.REQUEST)
            if done is not None:
                return done
            sight.look()

    def apply_all(
        self, claim: Callable[[Connection], list[Enrolment]], cause: Callable[[Enrolment], Cause]
    ) -> list[str]:
        """Apply a cause to each of the enrolments that `claim` returns and locks; return their ids."""
        sight = self._sight()

        def work(connection: Connection) -> tuple[bool, list[str]]:
            found = claim(connection)
            if sight.unseen(connection, found):
                return False, []
            self._apply(connection, [(one, [cause(one)]) for one in found], sight)
            return True, [one.id for one in found]

        while True:
            done, ids = self._database.write(work, rows=self._batch)
            if done:
                return ids
            sight.look()

    def refuses(self, connection: Connection, decision: Decision, arm: Arm) -> str | None:
        """Return the rule that keeps a user from beginning a run, in the decision's transaction."""
        try:
            plan = self._plans.find(connection, arm.playbook, decision.playbook_version or 0)
        except NextplayError:
            # `start` says what is wrong.
            return None
        if plan.reentry is None:
            return None
        user = self._people.canonical(decision.user_id)
        repository.hold_entry(connection, user, plan.playbook)
        former = repository.former_runs(connection, self._people.members(user), plan.playbook)
        return None if may_enter(plan.reentry, former, arm, decision.decided_at) else rule_of(plan.playbook)

    def _apply_one(
        self, connection: Connection, *, enrolment_id: str, cause: Cause, also: Also | None, sight: Sight
    ) -> Enrolment | None:
        before = repository.claim_one(connection, enrolment_id)
        if before is None:
            raise UnknownEnrolment(f"there is no enrolment {enrolment_id!r}; check the id")
        if sight.unseen(connection, [before]):
            return None
        step = self._stepper.step(connection, before, [cause], sight.of(before.user_id))
        if step.enrolment is not before:
            self._effects.keep(connection, [step], self._clock.now())
        if also is not None:
            also(connection, before, step.enrolment)
        return step.enrolment

    def _until_short(self, turn: Callable[..., tuple[bool, Report]]) -> Report:
        total = Report()
        sight = self._sight()
        while True:
            # What it comes to leaves the database by the relay, whose claim is forced to disk.
            more, report = self._database.write(partial(turn, sight=sight), rows=self._batch, forced=False)
            total += report
            if self._stopping.is_set() or not (sight.look() or more):
                return total

    def _sight(self) -> Sight:
        return Sight(self._views, self._clock, self._asks)

    def _asks(self, connection: Connection, enrolment: Enrolment) -> bool:
        plan = self._plan(connection, enrolment)
        return plan is not None and plan.asks

    def _plan(self, connection: Connection, enrolment: Enrolment) -> Plan | None:
        """Return the plan of an enrolment, None where it can't be had: whoever advances it says why."""
        try:
            return self._plans.find(connection, enrolment.playbook, enrolment.playbook_version)
        except NextplayError:
            return None

    def _put_back(self, connection: Connection, sight: Sight) -> tuple[bool, Report]:
        position = repository.hold_reader(connection, READER)
        if position is None:
            return False, Report()
        return self._putting_back.turn(connection, partial(self._put_some_back, connection, sight, position))

    def _put_some_back(
        self, connection: Connection, sight: Sight, position: int, limit: int
    ) -> tuple[int, Report]:
        found = parked_runs(connection, position, self._people, limit)
        woken = [
            (one.enrolment, causes)
            for one in found
            if one.facts and (causes := self._causes(connection, one.enrolment, one.facts))
        ]
        if sight.unseen(connection, [enrolment for enrolment, _ in woken]):
            return 0, Report()
        put_back_runs(connection, found)
        return len(found), self._apply(connection, woken, sight)

    def _route(self, connection: Connection, sight: Sight, head: int) -> tuple[bool, Report]:
        return self._routing.turn(connection, partial(self._route_some, connection, sight, head))

    def _route_some(self, connection: Connection, sight: Sight, head: int, limit: int) -> tuple[int, Report]:
        controls = in_force(connection)
        if controls.everything() is not None:
            return 0, Report()
        position = repository.hold_reader(connection, READER)
        if position is None:
            return 0, Report()
        found = ledger.read_after(connection, position, kind=ROUTED, limit=limit)
        facts = [fact for fact in found if fact.seq <= head]
        if not facts:
            return 0, Report()
        facts, all_fit = self._fitting(connection, facts, limit)
        by_user: dict[str, list[Fact]] = {}
        for fact in sorted(facts, key=lambda fact: (fact.occurred_at, fact.seq)):
            if fact.user_id is not None:
                for profile in self._people.members(fact.user_id):
                    by_user.setdefault(profile, []).append(fact)
        claimed = repository.claim_of_users(connection, list(by_user))
        woken = [
            (enrolment, causes)
            for enrolment in going(connection, controls, self._people, claimed, position)
            if (causes := self._causes(connection, enrolment, by_user[enrolment.user_id]))
        ]
        if sight.unseen(connection, [enrolment for enrolment, _ in woken]):
            # The same facts again, once the users were seen.
            return 0, Report()
        readers.advance(connection, READER, facts[-1].seq, ROUTED)
        report = self._apply(connection, woken, sight)
        return len(facts) if all_fit else limit, report + Report(events=len(facts))

    def _fitting(self, connection: Connection, facts: list[Fact], limit: int) -> tuple[list[Fact], bool]:
        """Return the first facts, which no more runs than `limit` may wait for; and whether that is all."""
        members = [self._people.members(fact.user_id) if fact.user_id else () for fact in facts]
        runs = repository.active_runs(connection, {one for some in members for one in some})
        number = fitting(members, runs, limit)
        return facts[:number], number == len(facts)

    def _causes(self, connection: Connection, enrolment: Enrolment, facts: Sequence[Fact]) -> list[Cause]:
        plan = self._plan(connection, enrolment)
        return causes_of(enrolment, plan.flow if plan else None, facts)

    def _advance_due(
        self, connection: Connection, *, sight: Sight, now: datetime, since: datetime | None
    ) -> tuple[bool, datetime | None, Report]:
        """Advance a turn's enrolments; say whether there may be more, and from when on the next are due."""
        work = partial(self._advance_some, connection, sight, now, since)
        more, (until, report) = self._advancing.turn(connection, work)
        return more, until if more else None, report

    def _advance_some(
        self, connection: Connection, sight: Sight, now: datetime, since: datetime | None, limit: int
    ) -> tuple[int, tuple[datetime | None, Report]]:
        controls = in_force(connection)
        if controls.everything() is not None:
            return 0, (None, Report())
        due = repository.claim_due(connection, now, limit, since)
        free = going(connection, controls, self._people, due)
        later = sight.unseen(connection, free)
        ready = [(enrolment, _DUE) for enrolment in free if enrolment.id not in later]
        report = self._apply(connection, ready, sight)
        # Those who are still to be seen are claimed again.
        return len(due), (since if later or not due else due[-1].due_at, report)

    def _apply(
        self, connection: Connection, woken: Sequence[tuple[Enrolment, Sequence[Cause]]], sight: Sight
    ) -> Report:
        steps = [
            self._stepper.step(connection, enrolment, causes, sight.of(enrolment.user_id))
            for enrolment, causes in woken
        ]
        changed = [
            step for step, (before, _) in zip(steps, woken, strict=True) if step.enrolment is not before
        ]
        if not changed:
            return Report()
        report = self._effects.keep(connection, changed, self._clock.now())
        reached("executor.applied")
        return report


_DUE = (Due(),)
