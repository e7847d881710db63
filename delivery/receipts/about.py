"""Which message a receipt is about, whose it is, and the events it becomes; reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from audiences.addresses import AddressKind
from audiences.errors import AddressUnfit, EventRefused
from audiences.identity.people import People
from audiences.intake.intake import Intake
from audiences.intake.ports import Judged
from delivery import repository as runs
from delivery.models import Enrolment, MessageFact, MessageState
from delivery.receipts import repository
from delivery.receipts.happening import context_of, event_of, of_message, of_receipt
from delivery.receipts.models import Incoming, Texted, Told, Unreadable, What
from delivery.receipts.permissions import Permissions, says
from delivery.receipts.repository import Held
from delivery.receipts.states import event_name
from delivery.receipts.way import Way
from delivery.receipts.words import Meaning, meaning
from storage import ledger
from storage.ledger import Fact, Kind

# Messages of one user that are looked at for the last one on a channel.
_MESSAGES = 50


class Meant(msgspec.Struct, frozen=True):
    """A receipt with the message it is about, or why there is none, and the events it becomes."""

    incoming: Incoming
    held: Held | None = None
    run: Enrolment | None = None
    judged: Sequence[Judged] = ()
    problem: str = ""

    @property
    def key(self) -> str:
        """The message's, '' if there is none."""
        return "" if self.held is None else self.held.queued.key


class About:
    """Finds out what receipts are about."""

    def __init__(self, intake: Intake, people: People, permissions: Permissions) -> None:
        self._intake, self._people, self._permissions = intake, people, permissions

    def meant(self, connection: Connection, channel: str, way: Way, one: Incoming, now: datetime) -> Meant:
        if isinstance(one, Unreadable):
            return Meant(one, problem=one.reason)
        if isinstance(one, Texted):
            return self._answered(connection, channel, way, one, now)
        key = one.key or (one.reference and repository.by_reference(connection, channel, one.reference)) or ""
        held = repository.held(connection, key) if key else None
        if held is None or held.queued.channel != channel:
            return Meant(one, problem=_unknown(one, channel))
        run = runs.enrolments_of(connection, [held.queued.enrolment_id]).get(held.queued.enrolment_id)
        if run is None or not held.queued.attempts:
            return Meant(one, problem=f"the message {key!r} was never handed over")
        judged = self._judge(connection, channel, way, one, held, run, now)
        return Meant(one, held, run, judged)

    def _answered(self, connection: Connection, channel: str, way: Way, one: Texted, now: datetime) -> Meant:
        """Find whoever sent a text: of several with one number all who stop, else who was written to last."""
        try:
            persons = self._permissions.holders(connection, way.address or AddressKind.PHONE, one.sender)
        except AddressUnfit as error:
            return Meant(one, problem=f"`from` {one.sender[:64]!r}: {error}")
        asks = meaning(one.text)
        last = [(person, self._last_sent(connection, person, channel)) for person in persons]
        written = [(person, fact) for person, fact in last if fact is not None]
        if asks is Meaning.TEXT:
            if not written and len(persons) != 1:
                some = f"{len(persons)} users have" if persons else "nobody has"
                return Meant(one, problem=f"{some} the number that it came from, and none was written to")
            last = [max(written, key=lambda pair: pair[1].occurred_at)] if written else last
        elif asks is Meaning.START:
            last = []
        what = What.REPLIED if asks is Meaning.TEXT else What.UNSUBSCRIBED
        judged, meant = [], Meant(one)
        for person, fact in last:
            told = Told(f"{one.event_id}:{person}", what, one.at, text=one.text)
            held = None if fact is None else repository.held(connection, fact.id.rpartition(":")[0])
            of_run = [] if held is None else [held.queued.enrolment_id]
            run = next(iter(runs.enrolments_of(connection, of_run).values()), None)
            judged += self._judge(connection, channel, way, told, held, run, now, person)
            if held is not None and run is not None:
                meant = Meant(one, held, run)
        return msgspec.structs.replace(meant, judged=judged)

    def _judge(
        self,
        connection: Connection,
        channel: str,
        way: Way,
        told: Told,
        held: Held | None,
        run: Enrolment | None,
        now: datetime,
        person: str = "",
    ) -> list[Judged]:
        about = of_message(held.queued, run) if held is not None and run is not None else {"channel": channel}
        event = event_of(
            connection,
            self._people,
            person if run is None else run.user_id,
            event_name(way.consent, told.what),
            event_id=f"{says(channel)}:{told.event_id}",
            properties=about | of_receipt(told),
            context=context_of(told),
            source=says(channel),
            at=told.at,
            now=now,
        )
        try:
            return self._intake.judge([event])
        except EventRefused:
            # Somebody of whom no name is left that an event could bear.
            return []

    def _last_sent(self, connection: Connection, person: str, channel: str) -> Fact | None:
        profiles = self._people.members(person)
        for fact in ledger.of_users(connection, profiles, kinds=[Kind.MESSAGE], limit=_MESSAGES):
            if fact.label == MessageState.SENT.value and fact.decode(MessageFact).channel == channel:
                return fact
        return None


def _unknown(one: Told, channel: str) -> str:
    named = f"message_id {one.key!r}" if one.key else f"reference {one.reference!r}"
    if not (one.key or one.reference):
        return "it says neither `message_id` nor `reference`: which message is it about?"
    return f"no message on the channel {channel!r} has the {named}"
