"""The next way of a message that surely did not reach its user: another channel, under a key of its own.

It is queued in the transaction that fails the one before it, so never both go out. Everything is checked
anew: consent of the new channel, windows, caps. The way is that of the channel which was meant first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import msgspec
from sqlalchemy import Connection

from delivery import outbox_repository as outbox
from delivery import repository
from delivery.channels.management.managed import Managed
from delivery.effects import message_fact
from delivery.models import Enrolment, MessageFact, MessageState, Report
from delivery.outbox_repository import Queued
from delivery.plans import Plan, Plans
from playbooks.flow import Send
from storage import ledger, readers
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.ledger import Fact, Kind

# A message that failed, the run that wanted it, and why it goes another way.
Moved = tuple[Queued, Enrolment, str]
# The same, with the message that goes instead of it.
Way = tuple[Queued, Queued, Enrolment, str]

READER: Final = "delivery.bounces"
# Facts that are looked at in one go, and bounces that are followed in one turn.
_PAGE, _MOST = 2_000, 100
# Between the key of a message and the channels on which it went on.
_ON = "~"


class FailOver:
    """Finds and takes next ways, in the caller's transaction."""

    def __init__(self, plans: Plans, managed: Managed, channels: Collection[str]) -> None:
        """`channels` are those that are open."""
        self._plans, self._managed, self._channels = plans, managed, channels

    def leads_on(self, connection: Connection, one: Queued, enrolment: Enrolment) -> bool:
        """Whether there is a next way for a message."""
        return self._next(connection, one, enrolment) is not None

    def go_on(self, connection: Connection, moved: Sequence[Moved], now: datetime) -> int:
        """Queue messages on their next channels; return how many."""
        ways = [
            (one, following, enrolment, reason)
            for one, enrolment, reason in moved
            if (following := self._next(connection, one, enrolment, now)) is not None
        ]
        return self.go(connection, ways, now)

    def go(self, connection: Connection, ways: Sequence[Way], now: datetime) -> int:
        """Queue messages instead of others; return how many."""
        queued = [
            (following, enrolment, f"instead of {one.channel}: {reason}")
            for one, following, enrolment, reason in ways
        ]
        outbox.queue(connection, [one for one, _, _ in queued])
        facts = [
            message_fact(one, MessageState.QUEUED, enrolment, now, reason=reason)
            for one, enrolment, reason in queued
        ]
        ledger.append(connection, facts, now)
        return len(queued)

    def others(
        self, connection: Connection, one: Queued, enrolment: Enrolment, now: datetime
    ) -> list[Queued]:
        """Return a message on each of the other channels that its send may choose among, in their order."""
        plan = self._plan(connection, enrolment)
        among = _among(plan, one)
        if plan is None or one.content not in plan.contents or not among:
            return []
        root, gone = root_of(one.key)
        first = outbox.first_channel(connection, root) if gone else one.channel
        return [_on(one, way, now) for way in among if way in self._channels and way not in (first, *gone)]

    def _next(
        self, connection: Connection, one: Queued, enrolment: Enrolment, now: datetime | None = None
    ) -> Queued | None:
        root, gone = root_of(one.key)
        first = outbox.first_channel(connection, root) if gone else one.channel
        if first is None:
            return None
        plan = self._plan(connection, enrolment)
        ways = [
            way
            for way in dict.fromkeys((*_among(plan, one), *self._managed.of(first).then))
            if way in self._channels and way not in (first, *gone)
        ]
        if not ways or plan is None or one.content not in plan.contents:
            return None
        return _on(one, ways[0], now or one.queued_at)

    def _plan(self, connection: Connection, enrolment: Enrolment) -> Plan | None:
        try:
            return self._plans.find(connection, enrolment.playbook, enrolment.playbook_version)
        except NextplayError:
            return None


def _among(plan: Plan | None, one: Queued) -> Sequence[str]:
    """Return the channels that the send of a message chooses among; none where it names one."""
    state = None if plan is None else plan.flow.states.get(one.step)
    return state.among if isinstance(state, Send) else ()


def _on(one: Queued, channel: str, now: datetime) -> Queued:
    """Return a message as it goes on by another channel."""
    return msgspec.structs.replace(
        one, key=f"{one.key}{_ON}{channel}", channel=channel, queued_at=now, attempts=0, holder=None
    )


class Bounces:
    """Lets messages go their next way of which receipts tell later that they did not arrive."""

    def __init__(self, database: Database, clock: Clock, managed: Managed, failover: FailOver) -> None:
        self._database, self._clock = database, clock
        self._managed, self._failover = managed, failover

    def follow(self) -> Report:
        """Take what the ledger tells of bounces since the last time."""
        total = Report()
        while True:
            with self._database.read() as connection:
                before = readers.position_of(connection, READER)
                # Once begun it goes on, or retention would wait for it.
                if not before and not self._managed.leads_on:
                    return total
                # What bounced before there were next ways is not sent after all.
                head = 0 if before else ledger.head(connection)
                facts = [] if head else ledger.read_after(connection, before, kind=Kind.MESSAGE, limit=_PAGE)
            if head:
                self._database.write(partial(self._take, before=0, position=head, lost=()))
                return total
            if not facts:
                return total
            lost = [fact for fact in facts if _says_lost(fact)][:_MOST]
            last = facts[-1] if len(lost) < _MOST else lost[-1]
            take = partial(self._take, before=before, position=last.seq, lost=lost)
            total += self._database.write(take, rows=4 * _MOST)

    def _take(self, connection: Connection, *, before: int, position: int, lost: Sequence[Fact]) -> Report:
        if not readers.advance_from(connection, READER, before, position, (Kind.MESSAGE,)):
            return Report()
        why = {fact.id.rpartition(":")[0]: fact.label for fact in lost}
        messages = outbox.not_arrived(connection, list(why))
        enrolments = repository.enrolments_of(connection, [one.enrolment_id for one in messages])
        moved = [
            (one, enrolments[one.enrolment_id], f"a receipt says that it {why[one.key]}") for one in messages
        ]
        return Report(queued=self._failover.go_on(connection, moved, self._clock.now()))


def _says_lost(fact: Fact) -> bool:
    if fact.label == MessageState.BOUNCED.value:
        return True
    # Those that failed here have gone on already.
    return fact.label == MessageState.FAILED.value and fact.decode(MessageFact).told


def root_of(key: str) -> tuple[str, list[str]]:
    """Return the key of the message that was wanted first, and the channels on which it went on since.

    >>> root_of("run:1:0~sms~push")
    ('run:1:0', ['sms', 'push'])
    """
    head, colon, tail = key.rpartition(":")
    number, *gone = tail.split(_ON)
    return f"{head}{colon}{number}", gone
