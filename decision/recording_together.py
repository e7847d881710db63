"""Makes many decisions durable in one transaction: each kind of row is written once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from decision.answers import DecideAnswer, answer_of
from decision.deadline import NEVER, Deadline
from decision.errors import KeyReused
from decision.inline import MessageShown
from decision.recording import Enroller, Key, Recorder, same_as_then
from playbooks import repository
from playbooks.counters import ReservedTogether, Wanted
from playbooks.decision import Decision
from playbooks.library import Library
from playbooks.models import Arm
from playbooks.repository import Answer
from storage import ledger
from storage.ledger import Kind, NewFact


class One(NamedTuple):
    """A decision about to be recorded, what it is to reserve, and its content where it is shown at once.

    `late` is what it is if its deadline passes before that, `late_message` what that shows.
    """

    decision: Decision
    wanted: Sequence[Wanted] = ()
    message: MessageShown | None = None
    deadline: Deadline = NEVER
    late: Decision | None = None
    late_message: MessageShown | None = None


@dataclass(frozen=True, slots=True)
class MadeTogether:
    """Decisions of a block about to be recorded.

    `budgets` says whether any of them looked at how full a budget is.
    """

    ones: Sequence[One]
    library: Library
    reserved: ReservedTogether | None
    budgets: bool

    def part(self, start: int, end: int) -> MadeTogether:
        """Return some of the decisions."""
        return MadeTogether(self.ones[start:end], self.library, self.reserved, self.budgets)

    def arm_of(self, decision: Decision) -> Arm | None:
        """Return the arm that is given, None where nothing is done."""
        if not decision.gives:
            return None
        playbook = self.library.get(decision.playbook or "", decision.playbook_version or 0)
        return playbook.arm(decision.arm)

    def settle(self, answers: Sequence[DecideAnswer | KeyReused]) -> None:
        """Give back what was reserved for decisions of which another answer is recorded."""
        others = [
            one
            for one, answer in zip(self.ones, answers, strict=True)
            if isinstance(answer, KeyReused)
            or one.decision.decision_id != answer.decision_id
            or one.decision.fallback != answer.fallback
        ]
        self.drop(others)

    def drop(self, ones: Sequence[One] | None = None) -> None:
        """Give back what was reserved for decisions that are surely not recorded."""
        if self.reserved is not None:
            some = self.ones if ones is None else ones
            self.reserved.drop([wanted.decision_id for one in some for wanted in one.wanted])


class RecorderTogether:
    """Writes decisions in the transaction it is given. Thread-safe."""

    def __init__(self, recorder: Recorder, enroller: Enroller) -> None:
        """`recorder` knows which policy versions have decided."""
        self._recorder, self._enroller = recorder, enroller

    def record(
        self, connection: Connection, made: MadeTogether, keys: Sequence[Key] | None = None
    ) -> list[DecideAnswer]:
        """Record decisions and return their answers; under keys that are known, the answers of then.

        Raises:
            KeyReused: a key was used for another request.
        """
        return [_answered(one) for one in self.record_each(connection, made, keys or ())]

    def record_each(
        self, connection: Connection, made: MadeTogether, keys: Sequence[Key | None]
    ) -> list[DecideAnswer | KeyReused]:
        """Do as `record` does, but for keys that were used for another request: for these say so.

        Args:
            keys: of each decision the one it was asked under, if it was; none: nobody has one.
        """
        earlier = self._earlier(connection, keys)
        fresh = [place for place in range(len(made.ones)) if place not in earlier]
        finals = self._finals(connection, made, fresh)
        facts = [
            NewFact(Kind.DECISION, one.decision_id, one.placement, one.user_id or None, one.decided_at, one)
            for one in finals.values()
        ]
        if facts:
            ledger.append(connection, facts, facts[0].occurred_at)
        for policy in {one.policy for one in finals.values() if one.fallback is None}:
            self._recorder.mark(connection, policy)
        answers: list[DecideAnswer | KeyReused] = []
        begun: list[tuple[Decision, Arm]] = []
        remembered: dict[str, Answer] = {}
        for place, one in enumerate(made.ones):
            if place in earlier:
                answers.append(earlier[place])
                continue
            final = finals[place]
            arm = made.arm_of(final)
            # What is given and no fallback is to be delivered (`Decision.acts`).
            if arm is not None and final.fallback is None:
                begun.append((final, arm))
            message = one.late_message if final is one.late else one.message
            answer = answer_of(final, made.library, arm, None, message)
            answers.append(answer)
            if keys and (key := keys[place]) is not None:
                body = msgspec.json.encode(answer).decode()
                remembered[key.name] = Answer(key.fingerprint, final.decision_id, body)
        self._enroller.start(connection, begun)
        if remembered:
            repository.remember_answers(connection, remembered, facts[0].occurred_at)
        return answers

    def earlier(self, connection: Connection, keys: Sequence[Key]) -> dict[int, DecideAnswer]:
        """Return what was answered under keys before, by the places of the keys; holds none of them.

        Raises:
            KeyReused: a key was used for another request.
        """
        known = repository.known_answers(connection, [key.name for key in keys])
        return {place: _answered(one) for place, one in _same(known, keys).items()}

    def _earlier(
        self, connection: Connection, keys: Sequence[Key | None]
    ) -> dict[int, DecideAnswer | KeyReused]:
        names = [key.name for key in keys if key is not None]
        return _same(repository.answers_to(connection, names), keys) if names else {}

    def _finals(
        self, connection: Connection, made: MadeTogether, places: Sequence[int]
    ) -> dict[int, Decision]:
        """Return what decisions come to once all is reserved that can be, by place."""
        finals = {place: made.ones[place].decision for place in places}
        reserving: list[str] = []
        # In one order everywhere: who begins a run is held, and no two blocks are to wait for each other.
        for place in sorted(finals, key=lambda place: finals[place].user_id):
            one, decision = made.ones[place], finals[place]
            if one.late is not None and one.deadline.passed:
                finals[place] = one.late
                continue
            arm = made.arm_of(decision) if decision.fallback is None else None
            rule = None if arm is None else self._enroller.refuses(connection, decision, arm)
            if rule is not None:
                made.drop([one])
                finals[place] = msgspec.structs.replace(decision, refused_by=rule)
            else:
                reserving += [wanted.decision_id for wanted in one.wanted]
        if made.reserved is None or not reserving:
            return finals
        refused = made.reserved.keep(connection, reserving)
        for place, decision in finals.items():
            if (rule := refused.get(decision.decision_id)) is not None:
                finals[place] = msgspec.structs.replace(decision, refused_by=rule)
        return finals


def _same(known: Mapping[str, Answer], keys: Sequence[Key | None]) -> dict[int, DecideAnswer | KeyReused]:
    """Return what was answered under keys before, or that something else was asked, by place."""
    found: dict[int, DecideAnswer | KeyReused] = {}
    for place, key in enumerate(keys):
        if key is not None and key.name in known:
            try:
                found[place] = same_as_then(known[key.name], key)
            except KeyReused as reused:
                found[place] = reused
    return found


def _answered(one: DecideAnswer | KeyReused) -> DecideAnswer:
    if isinstance(one, KeyReused):
        raise one
    return one
