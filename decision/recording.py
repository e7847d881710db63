"""Makes a decision durable: record, reserved uses, enrolment and remembered answer in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from decision.answers import DecideAnswer, DecideRequest, answer_of, fingerprint_of
from decision.deadline import Deadline
from decision.errors import BadRequest, KeyReused
from decision.inline import MessageShown
from learning.explaining import Explanation, explain_fallback
from playbooks import repository
from playbooks.constraints.circumstances import Circumstances
from playbooks.counters import Reservation, Wanted
from playbooks.counters.wanting import wanted_by
from playbooks.decision import Decision
from playbooks.library import Library
from playbooks.models import OUTBOUND, Arm
from playbooks.repository import Answer
from storage import ledger
from storage.ledger import Kind, NewFact

# Rows that one decision writes at most: itself, its reservation, its enrolment, its remembered answer.
DECISION_ROWS = 4
MAX_KEY_LENGTH = 255


class Enroller(Protocol):
    """Starts the flows of decisions in the decisions' own transaction."""

    def start(self, connection: Connection, decided: Sequence[tuple[Decision, Arm]]) -> None: ...

    def refuses(self, connection: Connection, decision: Decision, arm: Arm) -> str | None:
        """Return the rule by which the user may not begin a run again, None if they may."""
        ...


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key and what was asked under it."""

    name: str
    fingerprint: str

    @classmethod
    def of(cls, name: str, request: DecideRequest) -> Key:
        """Return a request's key.

        Raises:
            BadRequest: it can't be one.
        """
        if not 0 < len(name) <= MAX_KEY_LENGTH:
            raise BadRequest(
                f"the Idempotency-Key must have 1 to {MAX_KEY_LENGTH} characters, it has {len(name)}"
            )
        if "\x00" in name:
            raise BadRequest("the Idempotency-Key has the character U+0000 in it: leave it out")
        return cls(name, fingerprint_of(request))

    def check(self, earlier: str) -> None:
        """Make sure that what was asked under the key before was the same.

        Raises:
            KeyReused: it was not.
        """
        if earlier != self.fingerprint:
            raise KeyReused(
                f"the idempotency key {self.name!r} was used for another request; take a new key for a new "
                "request"
            )


@dataclass(frozen=True, slots=True)
class Made:
    """A decision about to be recorded.

    `late` is what it is if a deadline passes before that, `late_message` what that shows.
    """

    decision: Decision
    library: Library
    deadline: Deadline
    late: Decision | None = None
    reservation: Reservation | None = None
    explanation: Explanation | None = None
    message: MessageShown | None = None
    late_message: MessageShown | None = None

    def arm_of(self, decision: Decision) -> Arm | None:
        """Return the arm that is given, None where nothing is done."""
        if not decision.gives:
            return None
        playbook = self.library.get(decision.playbook or "", decision.playbook_version or 0)
        return playbook.arm(decision.arm)

    def answer(self, decision: Decision) -> DecideAnswer:
        """Return what the backend is told if it comes out as `decision`."""
        explanation, late = self.explanation, decision is self.late
        if explanation is not None and late:
            explanation = explain_fallback(decision)
        elif explanation is not None:
            explanation = msgspec.structs.replace(explanation, refused_by=decision.refused_by)
        message = self.late_message if late else self.message
        return answer_of(decision, self.library, self.arm_of(decision), explanation, message)

    def settle(self, done: Future[DecideAnswer]) -> None:
        """Give back what was reserved for a decision that surely was not recorded as it was made.

        What the database did with a failed commit is not known: then the reservation returns by expiry.
        """
        error = done.exception()
        if error is None:
            self.settle_with(done.result())
        elif isinstance(error, KeyReused):
            self.drop()

    def settle_with(self, answer: DecideAnswer) -> None:
        """Give back what was reserved if the recorded answer is another."""
        if answer.decision_id != self.decision.decision_id or answer.fallback != self.decision.fallback:
            self.drop()

    def drop(self) -> None:
        """Give back what was reserved."""
        if self.reservation is not None:
            self.reservation.drop()


class Recorder:
    """Writes decisions in the transaction it is given. Thread-safe."""

    def __init__(
        self, enroller: Enroller, mark_used: Callable[[Connection, str], None] | None = None
    ) -> None:
        """`mark_used` is told of the first decision by each policy version, so that it is kept."""
        self._enroller, self._mark_used = enroller, mark_used
        self._marked = frozenset[str]()

    def record(self, connection: Connection, made: Made, key: Key | None = None) -> DecideAnswer:
        """Record a decision and return its answer; under a key that is known, the answer of then.

        Raises:
            KeyReused: the key was used for another request.
        """
        if key is not None and (earlier := repository.answer_to(connection, key.name)) is not None:
            return same_as_then(earlier, key)
        final = self._final(connection, made)
        fact = NewFact(
            Kind.DECISION, final.decision_id, final.placement, final.user_id or None, final.decided_at, final
        )
        ledger.append(connection, [fact], final.decided_at)
        if final.fallback is None:
            self.mark(connection, final.policy)
        arm = made.arm_of(final)
        if arm is not None and final.acts:
            self._enroller.start(connection, [(final, arm)])
        answer = made.answer(final)
        if key is not None:
            body = msgspec.json.encode(answer).decode()
            remembered = Answer(key.fingerprint, final.decision_id, body)
            repository.remember_answer(connection, key.name, remembered, final.decided_at)
        return answer

    def recorded(self, made: Made, done: Future[DecideAnswer]) -> None:
        """Take note of a commit: a version whose first decision is durable need not be marked again."""
        if done.exception() is None:
            self.durable(made, done.result())

    def durable(self, made: Made, answer: DecideAnswer) -> None:
        """Take note that an answer is durable (see `recorded`)."""
        if answer.decision_id == made.decision.decision_id and answer.fallback is None:
            self.note(answer.policy)

    def mark(self, connection: Connection, policy: str) -> None:
        """Say that a policy version decides, unless that is known to be durable."""
        if self._mark_used is not None and policy not in self._marked:
            self._mark_used(connection, policy)

    def note(self, policy: str) -> None:
        """Take note that a decision by a policy version is durable."""
        if policy not in self._marked:
            self._marked |= {policy}

    def _final(self, connection: Connection, made: Made) -> Decision:
        if made.late is not None and made.deadline.passed:
            return made.late
        arm = made.arm_of(made.decision) if made.decision.acts else None
        if arm is not None and (rule := self._enroller.refuses(connection, made.decision, arm)):
            if made.reservation is not None:
                made.reservation.drop()
            return msgspec.structs.replace(made.decision, refused_by=rule)
        if made.reservation is None:
            return made.decision
        refused = made.reservation.keep(connection)
        return (
            made.decision if refused is None else msgspec.structs.replace(made.decision, refused_by=refused)
        )


def wanted_of(library: Library, decision: Decision, circumstances: Circumstances) -> Wanted | None:
    """Return what a decision is to reserve, None where it uses nothing that is counted."""
    if not decision.acts or decision.playbook is None:
        return None
    playbook = library.get(decision.playbook, decision.playbook_version or 0)
    return wanted_by(
        library.rules.terms(playbook),
        playbook.arm(decision.arm),
        circumstances,
        decision_id=decision.decision_id,
        user_id=decision.user_id,
        now=decision.decided_at,
        shared=not decision.test,
        for_good=decision.placement != OUTBOUND,
    )


def same_as_then(earlier: Answer, key: Key) -> DecideAnswer:
    """Return the answer that was given under a key.

    Raises:
        KeyReused: it was used for another request.
    """
    key.check(earlier.fingerprint)
    return msgspec.json.decode(earlier.body, type=DecideAnswer)
