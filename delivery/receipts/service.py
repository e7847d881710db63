"""Takes receipts in: each once, whatever came first; what can't be used is kept apart with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from itertools import islice

import msgspec
from sqlalchemy import Connection

from audiences.addresses import AddressKind
from audiences.consent.models import ANY, Reason
from audiences.errors import AddressUnfit
from audiences.identity.people import People
from audiences.intake.intake import Intake, Outcome, Taken
from delivery.gate import SendGate
from delivery.models import Enrolment, MessageState
from delivery.receipts import repository
from delivery.receipts.about import About, Meant
from delivery.receipts.arriving import bring
from delivery.receipts.models import Answer, Became, Bounce, Incoming, Texted, Told, What
from delivery.receipts.permissions import Permissions, says
from delivery.receipts.repository import Stray
from delivery.receipts.states import state_of
from delivery.receipts.way import Way, Ways
from delivery.receipts.words import Meaning, meaning
from storage.clock import Clock
from storage.engine import Database
from storage.writer import Lane

# About what a receipt writes: an event with its user and counts, states, consent, the suppression list.
_ROWS_EACH = 5
# A receipt may come before it is recorded what its provider calls the message; then it is looked at again.
_AGAIN = timedelta(minutes=10)
_MOST_AGAIN = 500
_KEPT = timedelta(days=14)
# For so long they are kept as they came, to be tried again by hand.
_WHOLE = timedelta(days=1)
_NAMING = (*repository.NAMING, "reason", "link")
_PAGE = 50
# Messages of one user that are looked at for the last one on a channel.
_MESSAGES = 50


class Receipts:
    """Receipts of all channels of one service. Thread-safe."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        intake: Intake,
        people: People,
        gate: SendGate,
        permissions: Permissions,
        purpose: Callable[[Connection, Enrolment], str],
        ways: Ways,
    ) -> None:
        """Wire them.

        Args:
            gate: counts a send of which nobody knew before its receipt came.
            purpose: tells a run's purpose.
            ways: by which channels reach users; None of those that do not exist.
        """
        self._database, self._clock, self._intake = database, clock, intake
        self._gate, self._permissions = gate, permissions
        self._about = About(intake, people, permissions)
        self._purpose, self._ways = purpose, ways

    def knows(self, channel: str) -> bool:
        """Whether there is a channel of this name."""
        return self._ways(channel) is not None

    def submit(self, channel: str, incoming: Sequence[Incoming]) -> Future[list[Answer]]:
        """Take in what a provider told; the future says what became of each, once that is durable.

        Raises:
            WriterBusy: too much waits to be written.
        """
        work = self._prepared(channel, incoming, self._clock.now())
        future = self._database.writer.submit(work, rows=_ROWS_EACH * len(incoming), lane=Lane.REQUEST)
        future.add_done_callback(lambda _: self._intake.committed())
        return future

    def waiting(self, channel: str, limit: int = _PAGE, after: str = "") -> list[Stray]:
        """Return receipts that could not be used, in the order of their ids."""
        with self._database.read() as connection:
            return repository.strays(connection, limit, channel=channel, after=after)

    def again(self, channel: str | None = None) -> dict[Became, int]:
        """Try once more what could not be used, all of a channel or what came lately; return the counts."""
        now = self._clock.now()
        since = now - _AGAIN if channel is None else None
        counts = dict.fromkeys(Became, 0)
        after = ""
        while channel is not None or sum(counts.values()) < _MOST_AGAIN:
            with self._database.read() as connection:
                page = repository.strays(connection, _PAGE, channel=channel, since=since, after=after)
            for one in page:
                counts[self._again(one, now)] += 1
            if len(page) < _PAGE:
                break
            after = page[-1].event_id
        return counts

    def forget(self, now: datetime) -> None:
        """Forget what nobody could use for days, and after a day whom it was about."""
        self._database.write(lambda connection: repository.forget_before(connection, now - _KEPT))
        while self._database.write(lambda connection: self._shorten(connection, now), rows=_PAGE):
            pass

    def _shorten(self, connection: Connection, now: datetime) -> int:
        """Take addresses and words out of what is kept for longer; returns how many receipts had any."""
        found = repository.naming(connection, now - _WHOLE, _PAGE)
        repository.renew(connection, [shortened(one) for one in found])
        return len(found)

    def _again(self, one: Stray, now: datetime) -> Became:
        way, incoming = self._ways(one.channel), msgspec.json.decode(one.body, type=Incoming)
        if way is None:
            return Became.QUARANTINED
        with self._database.read() as connection:
            if self._about.meant(connection, one.channel, way, incoming, now).problem:
                return Became.QUARANTINED
        prepared = self._prepared(one.channel, [incoming], now)

        def work(connection: Connection) -> Became:
            (answer,) = prepared(connection)
            if answer.outcome is not Became.QUARANTINED:
                repository.forget(connection, [one])
            return answer.outcome

        became = self._database.write(work, rows=_ROWS_EACH + 1)
        self._intake.committed()
        return became

    def _prepared(
        self, channel: str, incoming: Sequence[Incoming], now: datetime
    ) -> Callable[[Connection], list[Answer]]:
        """Find out what receipts are about; return what is to be done in a transaction."""
        way = self._ways(channel)
        assert way is not None  # noqa: S101 - whoever calls has asked `knows`
        with self._database.read() as connection:
            meant = [self._about.meant(connection, channel, way, one, now) for one in incoming]

        def work(connection: Connection) -> list[Answer]:
            taken = iter(self._intake.record(connection, [event for one in meant for event in one.judged]))
            became = [(one, list(islice(taken, len(one.judged)))) for one in meant]
            answers: dict[int, Answer] = {}
            # Messages are locked in one order everywhere.
            for at in sorted(range(len(meant)), key=lambda at: meant[at].key):
                answers[at] = self._take(connection, channel, way, *became[at], now)
            aside = [
                _stray(channel, meant[at].incoming, answer.reason, now)
                for at, answer in answers.items()
                if answer.outcome is Became.QUARANTINED
            ]
            repository.put_aside(connection, aside)
            return [answers[at] for at in range(len(meant))]

        return work

    # What follows

    def _take(
        self,
        connection: Connection,
        channel: str,
        way: Way,
        one: Meant,
        taken: Sequence[Taken],
        now: datetime,
    ) -> Answer:
        told, outcomes = one.incoming, {one.outcome for one in taken}
        if outcomes and outcomes <= {Outcome.DUPLICATE, Outcome.CONFLICT}:
            return Answer(told.event_id, Became.DUPLICATE)
        if Outcome.MACHINE in outcomes:
            return Answer(told.event_id, Became.MACHINE, next(one.reason for one in taken if one.reason))
        if isinstance(told, Told):
            reason = self._follow(connection, channel, way, told, one, now)
        elif isinstance(told, Texted) and not one.problem:
            reason = self._obey(connection, channel, way, told, one, now)
        else:
            reason = one.problem
        became = Became.QUARANTINED if one.problem and reason == one.problem else Became.RECORDED
        return Answer(told.event_id, became, reason)

    def _follow(
        self, connection: Connection, channel: str, way: Way, told: Told, one: Meant, now: datetime
    ) -> str:
        if one.held is None or one.run is None:
            return self._of_address(connection, channel, way, told, now) or one.problem
        state = state_of(told)
        if state is not None:
            reason = told.reason or None
            bring(connection, self._gate, one.held.queued.key, one.run, state, told.at, now, reason=reason)
        if told.what is What.UNSUBSCRIBED:
            self._unsubscribe(connection, channel, way, one.run, told.at, now)
        elif why := self._why_suppressed(connection, way, told, one.run):
            address = told.address or self._permissions.address_of(connection, way, one.run.user_id)
            if not self._permissions.suppress(connection, way, address, why, says(channel), told.at, now):
                return "" if way.address is None else "it does not say which address, so none is suppressed"
        return ""

    def _why_suppressed(self, connection: Connection, way: Way, told: Told, run: Enrolment) -> Reason | None:
        if told.what is What.COMPLAINED:
            return Reason.COMPLAINED
        if told.what is not What.BOUNCED:
            return None
        dead = told.bounce is Bounce.HARD or self._permissions.softly_dead(connection, way, run.user_id)
        return Reason.BOUNCED if dead else None

    def _unsubscribe(
        self, connection: Connection, channel: str, way: Way, run: Enrolment, at: datetime, now: datetime
    ) -> None:
        purpose = self._purpose(connection, run)
        # Those go whatever is said; who wants no more of them wants none of the others.
        denied = ANY if purpose == "transactional" else purpose
        self._permissions.deny(connection, run.user_id, denied, way, says(channel), at, now)

    def _of_address(self, connection: Connection, channel: str, way: Way, told: Told, now: datetime) -> str:
        """Do what can be done for an address whose message nobody knows; returns what was done."""
        if way.address is None or not told.address:
            return ""
        try:
            if told.what is What.UNSUBSCRIBED:
                self._permissions.stop(
                    connection, way, way.address, told.address, says(channel), told.at, now
                )
                return "no such message is known; the address gets no more"
            reason = Reason.COMPLAINED if told.what is What.COMPLAINED else Reason.BOUNCED
            hard = told.what is What.BOUNCED and told.bounce is Bounce.HARD
            if (hard or reason is Reason.COMPLAINED) and self._permissions.suppress(
                connection, way, told.address, reason, says(channel), told.at, now
            ):
                return "no such message is known; the address is on the suppression list"
        except AddressUnfit:
            pass
        return ""

    def _obey(
        self, connection: Connection, channel: str, way: Way, texted: Texted, one: Meant, now: datetime
    ) -> str:
        kind, asks = way.address or AddressKind.PHONE, meaning(texted.text)
        if asks is Meaning.STOP:
            self._permissions.stop(connection, way, kind, texted.sender, says(channel), texted.at, now)
            if one.held is not None and one.run is not None:
                key, state = one.held.queued.key, MessageState.UNSUBSCRIBED
                bring(connection, self._gate, key, one.run, state, texted.at, now)
        elif asks is Meaning.START:
            self._permissions.start(connection, way, kind, texted.sender, says(channel), texted.at, now)
        return ""


def shortened(one: Stray) -> Stray:
    """Return a receipt that could not be used without addresses, texts and what else tells of somebody."""
    incoming: Incoming = msgspec.json.decode(one.body, type=Incoming)
    named = getattr(incoming, "address", "") or getattr(incoming, "sender", "")
    gone = {field: "" for field in _NAMING if hasattr(incoming, field)}
    body = msgspec.json.encode(msgspec.structs.replace(incoming, **gone)).decode()
    reason = one.reason.replace(named, "…") if named else one.reason
    return msgspec.structs.replace(one, reason=reason, body=body)


def _stray(channel: str, one: Incoming, reason: str, now: datetime) -> Stray:
    return Stray(channel, one.event_id, now, reason, msgspec.json.encode(one).decode())
