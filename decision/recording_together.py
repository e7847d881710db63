"""Makes many decisions durable in one transaction: each kind of row is written once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from decision.answers import DecideAnswer, answer_of
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
    """A decision about to be recorded, what it is to reserve, and its content where it is shown at once."""

    decision: Decision
    wanted: Sequence[Wanted] = ()
    message: MessageShown | None = None


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
        """Return the arm to deliver, None where nothing is done."""
        if not decision.acts:
            return None
        playbook = self.library.get(decision.playbook or "", decision.playbook_version or 0)
        return playbook.arm(decision.arm)

    def settle(self, answers: Sequence[DecideAnswer]) -> None:
        """Give back what was reserved for decisions of which another answer is recorded."""
        others = [
            one
            for one, answer in zip(self.ones, answers, strict=True)
            if one.decision.decision_id != answer.decision_id
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
        earlier = self._earlier(connection, keys)
        fresh = [place for place in range(len(made.ones)) if place not in earlier]
        finals = self._finals(connection, made, fresh)
        facts = [
            NewFact(Kind.DECISION, one.decision_id, one.placement, one.user_id, one.decided_at, one)
            for one in finals.values()
        ]
        if facts:
            ledger.append(connection, facts, facts[0].occurred_at)
        for policy in {one.policy for one in finals.values() if one.fallback is None}:
            self._recorder.mark(connection, policy)
        answers: list[DecideAnswer] = []
        remembered: dict[str, Answer] = {}
        for place, one in enumerate(made.ones):
            if place in earlier:
                answers.append(earlier[place])
                continue
            final = finals[place]
            arm = made.arm_of(final)
            if arm is not None:
                self._enroller.start(connection, final, arm)
            answers.append(answer_of(final, made.library, arm, None, one.message))
            if keys is not None:
                body = msgspec.json.encode(answers[-1]).decode()
                remembered[keys[place].name] = Answer(keys[place].fingerprint, final.decision_id, body)
        if remembered:
            repository.remember_answers(connection, remembered, facts[0].occurred_at)
        return answers

    def earlier(self, connection: Connection, keys: Sequence[Key]) -> dict[int, DecideAnswer]:
        """Return what was answered under keys before, by the places of the keys; holds none of them.

        Raises:
            KeyReused: a key was used for another request.
        """
        return self._same(repository.known_answers(connection, [key.name for key in keys]), keys)

    def _earlier(self, connection: Connection, keys: Sequence[Key] | None) -> dict[int, DecideAnswer]:
        if keys is None:
            return {}
        return self._same(repository.answers_to(connection, [key.name for key in keys]), keys)

    @staticmethod
    def _same(known: Mapping[str, Answer], keys: Sequence[Key]) -> dict[int, DecideAnswer]:
        return {
            place: same_as_then(known[key.name], key) for place, key in enumerate(keys) if key.name in known
        }

    def _finals(
        self, connection: Connection, made: MadeTogether, places: Sequence[int]
    ) -> dict[int, Decision]:
        """Return what decisions come to once all is reserved that can be, by place."""
        finals = {place: made.ones[place].decision for place in places}
        reserving: list[str] = []
        for place, decision in finals.items():
            arm = made.arm_of(decision)
            rule = None if arm is None else self._enroller.refuses(connection, decision, arm)
            if rule is not None:
                finals[place] = msgspec.structs.replace(decision, refused_by=rule)
            else:
                reserving += [wanted.decision_id for wanted in made.ones[place].wanted]
        if made.reserved is None or not reserving:
            return finals
        refused = made.reserved.keep(connection, reserving)
        for place, decision in finals.items():
            if (rule := refused.get(decision.decision_id)) is not None:
                finals[place] = msgspec.structs.replace(decision, refused_by=rule)
        return finals
