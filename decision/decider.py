"""The decide call: reads what a decision needs, lets `playbooks.matching` decide, commits, answers.

One durable commit holds the decision, its reserved uses, its enrolment and the remembered answer; only
then is it answered.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from typing import Protocol

import msgspec
import structlog
from sqlalchemy import Connection

from audiences.features import FeatureReader
from audiences.identity.errors import UnknownIdentity
from audiences.identity.looking import Lookup
from audiences.identity.people import EveryoneAlone, People
from audiences.repository import is_known
from decision.answers import (
    FEATURES_MISSING,
    FEATURES_UNREACHABLE,
    POLICY_BROKEN,
    SHARED_IDENTITY,
    UNKNOWN_USER,
    DecideAnswer,
    DecideRequest,
    answer_of,
)
from decision.errors import KeyReused
from decision.observe import traces
from playbooks import repository
from playbooks.constraints import UNREADABLE, Uses
from playbooks.counters import Counters, Reservation, longest_window, wanted_by
from playbooks.decision import Decision
from playbooks.errors import CountersUnreachable, UnknownPlacement
from playbooks.library import Library
from playbooks.matching import Request, Snapshot, decide, fall_back
from playbooks.models import Arm
from playbooks.repository import Answer
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import Lane

_log = structlog.get_logger(__name__)


class Enroller(Protocol):
    """Starts the flow of a decision in the decision's own transaction."""

    def start(self, connection: Connection, decision: Decision, arm: Arm) -> None: ...


class Memberships(Protocol):
    """Says which audiences a user is in now."""

    def of(self, user_id: str) -> Set[str]: ...


@dataclass(frozen=True, slots=True)
class Serving:
    """What decisions are made from at a moment; replaced as a whole."""

    snapshot: Snapshot
    lookback: timedelta


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
    ) -> None:
        """Serve a snapshot.

        Args:
            people: says who is one person; without it every user id is one.
            mark_used: told of the first decision by each policy version, so that it is kept.
            insiders: users of whose decisions nothing is learned or reported.
        """
        self._insiders = insiders
        self._mark_used, self._marked = mark_used, frozenset[str]()
        self._people = people or EveryoneAlone()
        self._lookup = lookup or Lookup(database, self._people)
        self._database = database
        self._clock = clock
        self._features = features
        self._memberships = memberships
        self._enroller = enroller
        self._counters = counters
        self.serve(snapshot)

    @property
    def snapshot(self) -> Snapshot:
        """What decisions are made from at present."""
        return self._serving.snapshot

    def serve(self, snapshot: Snapshot) -> None:
        """Make every decision from now on from this snapshot."""
        documents = [playbook.document for playbook in snapshot.library.playbooks]
        self._serving = Serving(snapshot, longest_window(documents))

    def submit(self, request: DecideRequest, key: str | None = None) -> Future[DecideAnswer]:
        """Decide; the future is done once the decision is durable.

        Args:
            key: the request's idempotency key; the same key with the same request gives the same answer.

        Raises:
            UnknownPlacement: no playbook serves the placement.
            KeyReused: the key was used for another request.
            WriterBusy: too much waits to be written.
        """
        fingerprint = blake2b(msgspec.json.encode(request), digest_size=16).hexdigest()
        serving = self._serving
        user, fallback = self._whose(request)
        decision = self._decide(serving, request, user, fallback, key)
        traces.note(decision_id=decision.decision_id, placement=decision.placement, policy=decision.policy)
        library = serving.snapshot.library
        # Outside the transaction: what may be repeated by the writer must not reserve twice elsewhere.
        reservation = self._reserve(library, decision)

        def record(connection: Connection) -> DecideAnswer:
            if key is not None and (earlier := repository.answer_to(connection, key)) is not None:
                return _same(earlier, fingerprint, key)
            refused = reservation.keep(connection) if reservation is not None else None
            final = decision if refused is None else msgspec.structs.replace(decision, refused_by=refused)
            arm = _arm_of(final, library) if final.acts else None
            user_id = final.user_id or None
            fact = NewFact(
                Kind.DECISION, final.decision_id, final.placement, user_id, final.decided_at, final
            )
            ledger.append(connection, [fact], final.decided_at)
            self._keep_version(connection, final)
            if arm is not None:
                self._enroller.start(connection, final, arm)
            answer = answer_of(final, library, arm)
            if key is not None:
                body = msgspec.json.encode(answer).decode()
                remembered = Answer(fingerprint, final.decision_id, body)
                repository.remember_answer(connection, key, remembered, final.decided_at)
            return answer

        try:
            future = self._database.writer.submit(record, rows=4, lane=Lane.DECISION)
        except NextplayError:
            if reservation is not None:
                reservation.drop()
            raise
        if reservation is not None:
            future.add_done_callback(partial(_drop_unless_recorded, decision.decision_id, reservation))
        if decision.policy not in self._marked:
            future.add_done_callback(partial(self._marked_if_recorded, decision))
        traces.span_until_done("commit", future)
        return future

    def decide(self, user_id: str, placement: str, *, key: str | None = None) -> DecideAnswer:
        """Decide and wait until the decision is durable (see `submit`)."""
        return self.submit(DecideRequest(user_id=user_id, placement=placement), key).result()

    def _keep_version(self, connection: Connection, decision: Decision) -> None:
        """Mark the policy version as used by its first decision here, so that its weights are kept."""
        if self._mark_used is None or decision.fallback is not None or decision.policy in self._marked:
            return
        self._mark_used(connection, decision.policy)

    def _marked_if_recorded(self, decision: Decision, done: Future[DecideAnswer]) -> None:
        recorded = done.exception() is None and done.result().decision_id == decision.decision_id
        if recorded and decision.fallback is None:
            self._marked |= {decision.policy}

    def _whose(self, request: DecideRequest) -> tuple[str, str | None]:
        """Return the canonical id of the user asked about, or why nobody is found by the identity."""
        if request.identity is None:
            return self._people.canonical(request.user_id), None
        try:
            asked = self._lookup.identity(request.identity.kind, request.identity.value)
        except UnknownIdentity:
            return "", UNKNOWN_USER
        persons = self._lookup.persons(asked)
        if len(persons) == 1:
            return persons[0], None
        return "", SHARED_IDENTITY if persons else UNKNOWN_USER

    def _decide(
        self, serving: Serving, request: DecideRequest, user: str, fallback: str | None, key: str | None
    ) -> Decision:
        now = self._clock.now()
        decision_id = new_id(now)
        test = not self._insiders.isdisjoint(self._people.members(user))
        asked = Request(decision_id, user, request.placement, key or decision_id, test)
        if fallback is not None:
            return fall_back(serving.snapshot, asked, now, fallback)
        try:
            with traces.span("features"):
                features = self._features.read(user)
        except NextplayError as error:
            _log.warning("features unreachable", error=str(error))
            return fall_back(serving.snapshot, asked, now, FEATURES_UNREACHABLE)
        if features.missing:
            with self._database.read() as connection:
                known = is_known(connection, user)
            return fall_back(serving.snapshot, asked, now, FEATURES_MISSING if known else UNKNOWN_USER)
        uses: Uses = {}
        if serving.lookback:
            try:
                uses = self._counters.read(user, now, since=now - serving.lookback)
            except CountersUnreachable as error:
                _log.warning("counters unreachable", error=str(error))
                uses = UNREADABLE
        try:
            with traces.span("matching"):
                return decide(
                    serving.snapshot,
                    asked,
                    features=features.values,
                    audiences=self._memberships.of(user),
                    uses=uses,
                    now=now,
                )
        except UnknownPlacement:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a policy does, there is an answer
            _log.error("policy failed", policy=serving.snapshot.policy.version, error=str(error))
            return fall_back(serving.snapshot, asked, now, POLICY_BROKEN)

    def _reserve(self, library: Library, decision: Decision) -> Reservation | None:
        if not decision.acts or decision.playbook is None:
            return None
        playbook = library.get(decision.playbook, decision.playbook_version or 0).document
        wanted = wanted_by(playbook, decision.user_id, decision.decision_id)
        return None if wanted is None else self._counters.reserve(wanted, decision.decided_at)


def _drop_unless_recorded(decision_id: str, reservation: Reservation, done: Future[DecideAnswer]) -> None:
    """Give back what was reserved for a decision that surely was not recorded.

    What the database did with a failed commit is not known: then the reservation returns by expiry.
    """
    error = done.exception()
    if isinstance(error, KeyReused) or (error is None and done.result().decision_id != decision_id):
        reservation.drop()


def _arm_of(decision: Decision, library: Library) -> Arm:
    return library.get(decision.playbook or "", decision.playbook_version or 0).arm(decision.arm)


def _same(earlier: Answer, fingerprint: str, key: str) -> DecideAnswer:
    if earlier.fingerprint != fingerprint:
        raise KeyReused(
            f"the idempotency key {key!r} was used for another request; take a new key for a new request"
        )
    return msgspec.json.decode(earlier.body, type=DecideAnswer)
