"""The decide call: reads what a decision needs, lets `playbooks.matching` decide, commits, answers.

One durable commit holds the decision, its reserved uses, its enrolment and the remembered answer; only
then is it answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
import structlog
from sqlalchemy import Connection

from audiences.features import FeatureReader
from audiences.identity.looking import Lookup
from audiences.identity.people import EveryoneAlone, People
from decision.answers import (
    DEADLINE,
    FEATURES_UNREACHABLE,
    POLICY_BROKEN,
    DecideAnswer,
    DecideRequest,
)
from decision.context import Context, as_told, told_with
from decision.deadline import Deadline
from decision.errors import KeyReused
from decision.in_flight import InFlight, minded
from decision.inline import InlineMessages, message_of
from decision.observe import traces
from decision.recording import DECISION_ROWS, Enroller, Key, Made, Recorder
from decision.recording_together import RecorderTogether
from decision.reserving import reserve
from decision.submitting_together import DecidingTogether, Submitting
from decision.surroundings import Surroundings
from decision.together import Ask, Together
from decision.under_way import UnderWay
from decision.usable import usable
from decision.whom import Whom
from learning.context import Told
from learning.explaining import Explanation, explain
from learning.policy import LearnedPolicy
from playbooks.constraints.circumstances import Circumstances
from playbooks.counters import Counters
from playbooks.decision import Decision
from playbooks.eligible import needs_at
from playbooks.errors import UnknownPlacement
from playbooks.matching import Request, Snapshot, decide, fall_back
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.ids import new_id
from storage.writer import Lane

_log = structlog.get_logger(__name__)


class Memberships(Protocol):
    """Says which audiences a user is in now."""

    def of(self, user_id: str) -> Set[str]: ...


class Decider:
    """Answers `decide`. Thread-safe; the library and the policy are swapped in flight by `serve`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        features: FeatureReader,
        memberships: Memberships,
        enroller: Enroller,
        counters: Counters,
        snapshot: Snapshot,
        people: People | None = None,
        lookup: Lookup | None = None,
        mark_used: Callable[[Connection, str], None] | None = None,
        insiders: Set[str] = frozenset(),
        context: Mapping[str, Told] | None = None,
        surroundings: Surroundings | None = None,
        messages: InlineMessages | None = None,
    ) -> None:
        """Serve a snapshot.

        Args:
            people: says who is one person; without it every user id is one.
            mark_used: told of the first decision by each policy version, so that it is kept.
            insiders: users of whose decisions nothing is learned or reported.
            context: what a request may tell of its moment, by name and kind; without it, nothing.
            surroundings: reads what constraints ask for; without it, of nobody's account or time zone.
            messages: fills the contents of answers that are shown at once; without it they are not.
        """
        self._surroundings = surroundings or Surroundings(database, counters, people or EveryoneAlone())
        self._messages = messages
        self._insiders = insiders
        self._recorder = Recorder(enroller, mark_used)
        self._context = context or {}
        self.under_way = UnderWay()
        self._in_flight = InFlight()
        self._people = people or EveryoneAlone()
        self._whom = Whom(self._people, lookup or Lookup(database, self._people))
        self._database = database
        self._clock = clock
        self._features = features
        self._memberships = memberships
        self._counters = counters
        self._submitting = Submitting(
            database,
            self._people,
            Together(
                database,
                clock,
                features,
                memberships.of,
                self._people,
                insiders,
                self._surroundings,
                self._in_flight,
                counters,
                messages,
            ),
            self._recorder,
            RecorderTogether(self._recorder, enroller),
        )
        self.serve(snapshot)

    @classmethod
    @contextmanager
    def opened(cls, data: str | Path | None = None) -> Iterator[Decider]:
        """Give the decider of a data folder, in this process; it follows what is published.

        Raises:
            DatabaseInUse: a service runs on that SQLite file; on Postgres any number may.
            NextplayError: something is missing or wrong.
        """
        from decision.in_process import opened_service  # noqa: PLC0415 - puts this class together

        with opened_service(None if data is None else Path(data)) as service:
            yield service.decider

    @property
    def snapshot(self) -> Snapshot:
        """What decisions are made from at present."""
        return self._snapshot

    def serve(self, snapshot: Snapshot) -> None:
        """Make every decision from now on from this snapshot."""
        self._snapshot = snapshot

    def submit(self, request: DecideRequest, key: str | None = None) -> Future[DecideAnswer]:
        """Decide; the future is done once the decision is durable, of a dry run at once.

        Args:
            key: the request's idempotency key; the same key with the same request gives the same answer. A
                dry run has no use for it.

        Raises:
            UnknownPlacement: no playbook serves the placement.
            WrongContext: the context is not what the policy reads.
            KeyReused: the key was used for another request.
            WriterBusy: too much waits to be written.
        """
        deadline = Deadline.after(request.deadline_ms)
        asked = self.check(request, key)
        if asked is not None and (earlier := self.under_way.follow(asked)) is not None:
            return earlier
        future = self.submit_alone(request, key, asked, deadline)
        if asked is not None:
            self.under_way.begin(asked, future)
        return future

    def check(self, request: DecideRequest, key: str | None) -> Key | None:
        """Return under which key a request's answer is to be remembered, None under none.

        Raises:
            BadRequest: the key can't be one.
            WrongContext: the context is not what the policy reads.
        """
        asked = None if key is None else Key.of(key, request)
        as_told(request.context, self._context)
        return None if request.dry_run else asked

    def submit_alone(
        self, request: DecideRequest, key: str | None, asked: Key | None, deadline: Deadline
    ) -> Future[DecideAnswer]:
        """Decide a request that was checked, as `submit` does, whatever is under way with its key."""
        made = self.make(self._snapshot, request, deadline, key)
        traces.note(decision_id=made.decision.decision_id, placement=request.placement)
        traces.note(policy=made.decision.policy)
        if request.dry_run:
            self._in_flight.let_go(made.decision.decision_id)
            return _told(msgspec.structs.replace(made.answer(made.decision), dry_run=True))
        try:
            future = self._database.writer.submit(
                lambda connection: self._recorder.record(connection, made, asked),
                rows=DECISION_ROWS,
                lane=Lane.DECISION,
            )
        except NextplayError:
            made.drop()
            self._in_flight.let_go(made.decision.decision_id)
            raise
        future.add_done_callback(made.settle)
        future.add_done_callback(lambda _: self._in_flight.let_go(made.decision.decision_id))
        future.add_done_callback(partial(self._recorder.recorded, made))
        traces.span_until_done("commit", future)
        return future

    def ask(self, request: DecideRequest, key: str | None, deadline: Deadline) -> Ask:
        """Return whom a request means and how they are to be decided for, with others.

        Raises:
            NextplayError: the identity in it can't be one.
        """
        user, fallback = self._whom.of(request)
        own = None if request.deadline_ms is None else deadline
        return Ask(user, key, as_told(request.context, self._context), own, fallback)

    def submit_each(
        self, asks: Sequence[Ask], keys: Sequence[Key | None], placement: str
    ) -> Future[list[DecideAnswer | KeyReused]]:
        """Decide for users of whom none is there twice, who wait for their answers; all are durable at once.

        Args:
            keys: under which answers are to be remembered.

        Raises:
            as `submit`.
        """
        return self._submitting.submit_each(self._snapshot, asks, keys, placement)

    def decide_many(
        self, users: Sequence[str], placement: str, keys: Sequence[str] | None = None
    ) -> list[DecidingTogether]:
        """Decide for many users by id, behind those who wait for an answer (see `decision.together`).

        Args:
            users: some hundred at a time, so that neither memory nor what is read grows old.
            keys: an idempotency key for each.

        Returns:
            What is under way to become durable: all users in their order, as many as a turn of the writer
            takes in each.

        Raises:
            as `submit`.
        """
        return self._submitting.submit(self._snapshot, users, placement, keys)

    def make(
        self,
        snapshot: Snapshot,
        request: DecideRequest,
        deadline: Deadline,
        key: str | None,
    ) -> Made:
        """Decide and reserve, without recording anything.

        Raises:
            UnknownPlacement: no playbook serves the placement.
        """
        now, circumstances = self._clock.now(), Circumstances()
        user, fallback = self._whom.of(request)
        decision_id = new_id(now)
        test = not self._insiders.isdisjoint(self._people.members(user))
        asked = Request(decision_id, user, request.placement, key or decision_id, test)
        late = None if request.deadline_ms is None else fall_back(snapshot, asked, now, DEADLINE)
        if fallback is not None:
            decision = fall_back(snapshot, asked, now, fallback)
        elif late is not None and deadline.passed:
            decision = late
        else:
            context = as_told(request.context, self._context)
            decision, circumstances = self._decide(snapshot, asked, context, now)
        if late is not None and deadline.passed:
            decision = late
        # Outside the transaction: what may be repeated by the writer must not reserve twice elsewhere.
        reservation = None
        if not request.dry_run:
            reservation = reserve(self._counters, snapshot.library, decision, circumstances)
        explanation = self._explain(snapshot, decision) if request.explain else None
        messages = [message_of(self._messages, snapshot.library, one) for one in (decision, late)]
        return Made(decision, snapshot.library, deadline, late, reservation, explanation, *messages)

    def decide(self, user_id: str, placement: str, *, key: str | None = None) -> DecideAnswer:
        """Decide and wait until the decision is durable (see `submit`)."""
        return self.submit(DecideRequest(user_id=user_id, placement=placement), key).result()

    def _decide(
        self, snapshot: Snapshot, asked: Request, context: Context, now: datetime
    ) -> tuple[Decision, Circumstances]:
        """Return the decision, and the circumstances it was made in."""
        user, nothing = asked.user_id, Circumstances()
        try:
            with traces.span("features"):
                features = self._features.read(user)
        except NextplayError:
            # Whoever reads them has said so in the log.
            return fall_back(snapshot, asked, now, FEATURES_UNREACHABLE), nothing
        if isinstance(reason := usable(self._database, [user], [features])[0], str):
            return fall_back(snapshot, asked, now, reason), nothing
        audiences = self._memberships.of(user)
        needs = needs_at(snapshot.library, asked.placement, audiences, now)
        if asked.test:
            # What colleagues share is not theirs to use up.
            needs = msgspec.structs.replace(needs, account=False)
        try:
            with self._in_flight.turn(needs) as under_way, traces.span("matching"):
                circumstances = self._surroundings.of(user, needs, features.values, now)
                circumstances = minded(circumstances, under_way)
                decision = decide(
                    snapshot,
                    asked,
                    features=told_with(features.values, context),
                    audiences=audiences,
                    circumstances=circumstances,
                    now=now,
                )
                self._in_flight.hold(snapshot.library, decision)
        except UnknownPlacement:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a policy does, there is an answer
            _log.error("policy failed", policy=snapshot.policy.version, error=str(error))
            return fall_back(snapshot, asked, now, POLICY_BROKEN), nothing
        return decision, circumstances

    def _explain(self, snapshot: Snapshot, decision: Decision) -> Explanation | None:
        if not isinstance(snapshot.policy, LearnedPolicy):
            return None
        audiences = set(decision.audiences)
        served = snapshot.library.at(decision.placement, audiences)
        arms = [arm for one in served if one.serves(decision.user_id, audiences) for arm in one.arms]
        return explain(decision, snapshot.policy, arms)


def _told(answer: DecideAnswer) -> Future[DecideAnswer]:
    done: Future[DecideAnswer] = Future()
    done.set_result(answer)
    return done
