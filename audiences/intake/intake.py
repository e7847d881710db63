"""Taking events in: acknowledged means durable, a message id counts once, what is set aside is kept."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from enum import StrEnum
from functools import partial

import msgspec
from sqlalchemy import Connection

from audiences import repository
from audiences.events import AsideBody, Event, EventBody
from audiences.intake.ports import (
    AllTraits,
    AnyShape,
    Arrivals,
    Identities,
    Judged,
    Machines,
    NoMachines,
    OneIdAUser,
    TrackingPlan,
    Traits,
    Uncounted,
)
from audiences.traits.models import OVERRULED
from storage import ledger
from storage.engine import Database
from storage.ledger import Fact, Kind, NewFact
from storage.pace import Pace
from storage.writer import TURN_ROWS, Lane

# Users and identities are written beside their events; together they must fit one turn of the writer.
EVENTS_PER_WRITE = TURN_ROWS // 2
_COUNTED = (Kind.EVENT, Kind.PAST_EVENT)
# A message id counts once over all of these.
_TAKEN = (*_COUNTED, Kind.MACHINE_EVENT, Kind.QUARANTINED)


class Outcome(StrEnum):
    """What became of an event."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    # The id was used before, for something else.
    CONFLICT = "conflict"
    QUARANTINED = "quarantined"
    MACHINE = "machine"


class Taken(msgspec.Struct, frozen=True):
    """What became of one event; `reason` says why it was set aside or is in conflict."""

    event_id: str
    outcome: Outcome
    reason: str = ""


class Intake:
    """Takes events in for one database. Thread-safe."""

    def __init__(
        self,
        database: Database,
        *,
        plan: TrackingPlan | None = None,
        machines: Machines | None = None,
        identities: Identities | None = None,
        traits: Traits | None = None,
        arrivals: Arrivals | None = None,
    ) -> None:
        """Without a plan every shape is taken, without machines everybody is a person."""
        self._database = database
        self._releasing = Pace(EVENTS_PER_WRITE)
        self._plan = plan or AnyShape()
        self._machines = machines or NoMachines()
        self._identities = identities or OneIdAUser()
        self._traits = traits or AllTraits()
        self._arrivals = arrivals or Uncounted()

    def submit(
        self, events: Sequence[Event], *, past: bool = False, lane: Lane = Lane.REQUEST
    ) -> list[Future[list[Taken]]]:
        """Queue events for the ledger; each future gives what became of its share, once that is durable.

        Shares are in the order of `events`, at most `EVENTS_PER_WRITE` each.

        Args:
            past: they are imported history: known to features and counters, starting nothing.

        Raises:
            EventRefused: one of the events does not say whose it is (see `check`); nothing was queued.
            WriterBusy: too much waits already. What was queued before the refusal may still be recorded, and
                sending the same message ids again records them once.
        """
        judged = self.judge(events, past=past)
        futures = [
            self._database.writer.submit(
                partial(self.record, judged=share, past=past), rows=2 * len(share), lane=lane
            )
            for share in (
                judged[at : at + EVENTS_PER_WRITE] for at in range(0, len(judged), EVENTS_PER_WRITE)
            )
        ]
        for future in futures:
            # Before whoever waits for the answer, so that they find joined what they joined.
            future.add_done_callback(lambda _: self.committed())
        return futures

    def check(self, event: Event) -> None:
        """Make sure that an event says whose it is; `submit` takes none of its events if one does not.

        Raises:
            EventRefused: it names nobody, or by an id that can't be.
        """
        self._identities.check(event)

    def take(self, events: Sequence[Event], *, past: bool = False) -> list[Taken]:
        """Take events in and wait until that is durable (see `submit`)."""
        taken = [one for future in self.submit(events, past=past) for one in future.result()]
        # A result may be had before what was to be done with it is done.
        self.committed()
        return taken

    def judge(self, events: Sequence[Event], *, past: bool = False) -> list[Judged]:
        """Return as what events are to be kept; for `record`.

        Raises:
            EventRefused: one of the events does not say whose it is.
        """
        for event in events:
            self.check(event)
        return [self._judge(event, past=past) for event in events]

    def committed(self) -> None:
        """To be called after the commit of a transaction in which `record` was called."""
        self._identities.committed()

    def release(self, aside: Sequence[AsideBody], now: datetime, *, people: bool = False) -> list[Taken]:
        """Take in events that were set aside, if they fit by now, and wait until that is durable.

        Ids and times of what happened stay; those that do not fit stay where they are, for the reason given.

        Args:
            now: when they are recorded.
            people: people did them, whatever was thought of them before.
        """
        outcomes: list[Taken] = []
        for past in (False, True):
            some = [one.event for one in aside if one.past is past]
            judged = [self._judge(event, past=past, person=people) for event in some]
            work = partial(self._released, past=past, now=now)
            for _, taken in self._releasing.turns(self._database, judged, work, rows_each=2):
                outcomes += taken
                self.committed()
        return outcomes

    def _released(
        self, connection: Connection, judged: Sequence[Judged], past: bool, now: datetime
    ) -> list[Taken]:
        return self.record(connection, judged, past=past, released_at=now)

    def _judge(self, event: Event, *, past: bool, person: bool = False) -> Judged:
        event, problem = self._plan.check(event)
        if problem:
            return Judged(event, Kind.QUARANTINED, problem, past)
        if not person and (reason := self._machines.why(event)):
            return Judged(event, Kind.MACHINE_EVENT, reason, past)
        return Judged(event, Kind.PAST_EVENT if past else Kind.EVENT, past=past)

    def record(
        self,
        connection: Connection,
        judged: Sequence[Judged],
        *,
        past: bool = False,
        released_at: datetime | None = None,
    ) -> list[Taken]:
        """Record judged events, at most `EVENTS_PER_WRITE`, in the caller's transaction.

        Args:
            released_at: now, if they had been set aside.
        """
        known = ledger.known(connection, _TAKEN, [one.event.event_id for one in judged])
        first: dict[str, Judged] = {}
        for one in judged:
            earlier = known.get(one.event.event_id)
            if earlier is None or _replaces(one, earlier, released=released_at is not None):
                first.setdefault(one.event.event_id, one)
        recorded = self._record(connection, list(first.values()), released_at, past=past)
        outcomes = []
        for one in judged:
            taken = self._outcome(one, known.get(one.event.event_id), first, recorded)
            # What comes twice within the share counts once.
            recorded.discard(taken.event_id)
            outcomes.append(taken)
        self._arrivals.add(
            connection, judged, [taken.outcome for taken in outcomes], released=released_at is not None
        )
        return outcomes

    def _record(
        self, connection: Connection, fresh: Sequence[Judged], released_at: datetime | None, *, past: bool
    ) -> set[str]:
        """Record events that are not known; return the ids of those that nobody else recorded meanwhile."""
        counted = [one for one in fresh if one.kind in _COUNTED]
        aside = [one for one in fresh if one.kind not in _COUNTED]
        if not fresh:
            return set()
        events = [one.event for one in counted]
        profiles = self._identities.resolve(connection, events) if counted else []
        events = self._traits.settle(connection, events, profiles, past=past)
        new = [
            _counted(one.kind, event, profile)
            for one, event, profile in zip(counted, events, profiles, strict=True)
        ]
        new += [_aside(one) for one in aside]
        recorded = ledger.append_unless_known(connection, new, released_at or fresh[0].event.received_at)
        repository.add_users(
            connection,
            [
                (profile, one.event.occurred_at)
                for one, profile in zip(counted, profiles, strict=True)
                if one.event.event_id in recorded
            ],
        )
        return recorded

    @staticmethod
    def _outcome(one: Judged, earlier: Fact | None, first: dict[str, Judged], recorded: set[str]) -> Taken:
        event = one.event
        if event.event_id in recorded:
            if one.kind in _COUNTED:
                return Taken(event.event_id, Outcome.RECORDED)
            aside = Outcome.QUARANTINED if one.kind is Kind.QUARANTINED else Outcome.MACHINE
            return Taken(event.event_id, aside, one.reason)
        same = _says(earlier, event) if earlier is not None else _alike(first.get(event.event_id), one)
        if same:
            return Taken(event.event_id, Outcome.DUPLICATE)
        return Taken(
            event.event_id,
            Outcome.CONFLICT,
            f"`messageId` {event.event_id!r} was used before, for another message; that one was kept: "
            "give every message an id of its own",
        )


def _replaces(one: Judged, earlier: Fact, *, released: bool) -> bool:
    """Whether an event is to be kept beside a fact of the same id that was set aside."""
    if earlier.kind is Kind.QUARANTINED:
        return one.kind is not Kind.QUARANTINED
    return released and earlier.kind is Kind.MACHINE_EVENT and one.kind in _COUNTED


def _counted(kind: Kind, event: Event, profile: str) -> NewFact:
    body = EventBody(dict(event.properties), event.type, dict(event.context), event.source, event.account_id)
    return NewFact(kind, event.event_id, event.name, profile, event.occurred_at, body)


def _aside(one: Judged) -> NewFact:
    event = one.event
    body = AsideBody(event, one.reason, one.past)
    return NewFact(one.kind, event.event_id, event.name, event.user_id or None, event.occurred_at, body)


def _says(fact: Fact, event: Event) -> bool:
    """Whether a fact was made of a message that said the same; times may have been corrected otherwise."""
    if fact.label != event.name:
        return False
    if fact.kind in _COUNTED:
        body: EventBody = fact.decode(EventBody)
        aside = body.context.get(OVERRULED)
        said = {**body.properties, **aside} if isinstance(aside, dict) else body.properties
        return said == _plain(event) and body.type == event.type
    kept: AsideBody = fact.decode(AsideBody)
    return dict(kept.event.properties) == _plain(event)


def _alike(first: Judged | None, one: Judged) -> bool:
    if first is None or first is one:
        return True
    return first.event.name == one.event.name and first.event.properties == one.event.properties


def _plain(event: Event) -> object:
    """The properties as they come back from the ledger."""
    return msgspec.json.decode(msgspec.json.encode(event.properties))
