"""Self-protection: counts what becomes of messages, and pauses what is past its thresholds, saying why.

Outcomes are counted by playbook, channel and minute as the ledger tells of them. A person who resumes what
paused itself begins a new count: what was seen before does not pause it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import Connection

from audiences.consent.models import ConsentState
from audiences.identity.people import People
from delivery import protection_repository as repository
from delivery.attributing import last_sent, told_by_receipt
from delivery.models import MessageFact, MessageState
from playbooks.controls import Control, Mode, Scope
from playbooks.controls import repository as controls_repository
from playbooks.controls.models import STOPPING
from playbooks.controls.service import ControlService
from playbooks.protection import Breach, Protection, breaches
from storage import ledger, readers
from storage.engine import Database
from storage.ledger import Fact, Kind
from storage.standing_aside import stand_aside
from storage.writer import TURN_ROWS

# Under this name it pauses.
PROTECTION: Final = "protection"
READER: Final = "delivery.protection"
_KINDS = (Kind.MESSAGE, Kind.CONSENT, Kind.EVENT)
# Facts that are looked at, and counts that are written, at a time.
_FACTS, _COUNTS = 1_000, TURN_ROWS // 2
_COUNTED = {
    MessageState.SENT: "sent",
    MessageState.DELIVERED: "delivered",
    MessageState.FAILED: "failed",
    MessageState.BOUNCED: "returned",
    MessageState.COMPLAINED: "complaints",
}


class Protecting:
    """Watches over one database; one process at a time."""

    def __init__(
        self, database: Database, people: People, controls: ControlService, protection: Protection
    ) -> None:
        self._database, self._people = database, people
        self._controls, self._protection = controls, protection

    def run(self, now: datetime) -> list[Control]:
        """Count what is new, then pause what is past a threshold; return what was paused."""
        counted = False
        while self._count():
            counted = True
        if counted:
            before = now - 2 * self._protection.window
            self._database.write(lambda connection: repository.forget(connection, before))
        paused = []
        for scope, target, found in self._breached(now):
            why = "; ".join(map(str, found))
            evidence = msgspec.to_builtins(found)
            paused.append(
                self._controls.stop(scope, target, Mode.PAUSE, by=PROTECTION, why=why, evidence=evidence)
            )
        return paused

    def _count(self) -> bool:
        """Count the next facts; False where none are left, or somebody else counted them.

        They are looked at before the turn to write, in which customers may wait.
        """
        counted: dict[tuple[str, str, datetime, str], int] = {}
        with self._database.read() as connection:
            before = last = readers.position_of(connection, READER)
            for fact in ledger.read_after(connection, before, kind=_KINDS, limit=_FACTS):
                stand_aside()
                for key in self._outcomes(connection, fact):
                    counted[key] = counted.get(key, 0) + 1
                last = fact.seq
                if len(counted) >= _COUNTS:
                    break
        if last == before:
            return False

        def keep(connection: Connection) -> bool:
            moved = readers.advance_from(connection, READER, before, last, _KINDS)
            if moved:
                repository.add(connection, counted)
            return moved

        return self._database.write(keep, rows=1 + len(counted))

    def _outcomes(self, connection: Connection, fact: Fact) -> Iterator[tuple[str, str, datetime, str]]:
        minute = fact.occurred_at.replace(second=0, microsecond=0)
        if fact.kind is Kind.MESSAGE:
            if fact.label in _COUNTED:
                body: MessageFact = fact.decode(MessageFact)
                outcome = _COUNTED[MessageState(fact.label)]
                # What a provider took first and gave back later is among those sent.
                returned = body.told and outcome == "failed"
                yield body.playbook, body.channel, minute, "returned" if returned else outcome
            return
        complained = fact.kind is Kind.EVENT and self._complains(fact)
        denied = fact.kind is Kind.CONSENT and fact.label == ConsentState.DENIED.value
        if (complained or denied) and fact.user_id is not None:
            profiles = self._people.members(fact.user_id)
            last = last_sent(connection, profiles, fact.occurred_at, self._protection.attribution)
            if last is not None:
                yield last.playbook, last.channel, minute, "complaints" if complained else "opt_outs"

    def _complains(self, fact: Fact) -> bool:
        """Whether an event is a complaint that is not counted yet: what receipts tell is known by message."""
        if fact.label not in self._protection.complaint_events:
            return False
        return not told_by_receipt(fact)

    def _breached(self, now: datetime) -> Sequence[tuple[Scope, str, list[Breach]]]:
        found = []
        with self._database.read() as connection:
            since = now - self._protection.window
            changed = {one.key: one for one in controls_repository.standing(connection, list(Mode))}
            targets = repository.targets(connection, since)
            for scope, target in targets:
                control = changed.get(f"{scope.value}:{target}")
                if control is not None and control.mode in STOPPING:
                    continue
                begin = since if control is None else max(since, control.at)
                seen = repository.outcomes(connection, scope, target, begin)
                if past := list(breaches(self._protection, seen)):
                    found.append((scope, target, past))
        return found
