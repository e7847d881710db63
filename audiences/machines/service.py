"""Machine events of one service: settles held clicks, counts by reason, gives back what a person did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences.errors import NotAside
from audiences.events import AsideBody
from audiences.intake.intake import EVENTS_PER_WRITE, Intake, Outcome, Taken
from audiences.machines import repository
from audiences.machines.clicks import Click, by_machine
from audiences.machines.definitions import MachinesSpec
from audiences.machines.machines import Reason, due_at
from audiences.quarantine.repository import one_aside
from audiences.quarantine.service import body_of
from storage import ledger, readers
from storage.engine import Database
from storage.ledger import Fact, Kind
from storage.pace import Pace

READER = "machines.held"
_KINDS = (Kind.MACHINE_EVENT,)
_TURN_EVENTS = 400
_TURN_MESSAGES = 100
# A click that comes in late is judged with the others of its message for as long.
_REMEMBERED = timedelta(days=7)
# A link without a name is its own link.
_MAX_LINKS = 100_000


class Settled(msgspec.Struct, frozen=True):
    """What was found out about held clicks: how many a person and how many a machine made."""

    people: int = 0
    machines: int = 0


class MachineEvents:
    """What was set aside as a machine's."""

    def __init__(self, database: Database, intake: Intake, spec: Callable[[], MachinesSpec]) -> None:
        self._database = database
        self._intake = intake
        self._spec = spec
        self._holding, self._settling = Pace(_TURN_EVENTS), Pace(_TURN_EVENTS)

    def settle(self, now: datetime) -> Settled:
        """Tell machines' clicks from people's, once their wait is over; people's count from now on.

        May be stopped anywhere and called again.
        """
        self._holding.until_done(self._database, partial(self._hold, spec=self._spec()))
        people = machines = 0
        while True:
            with self._database.read() as connection:
                messages = repository.due(connection, now, _TURN_MESSAGES)
                clicks = repository.clicks_of(connection, messages) if messages else []
            if not messages:
                break
            found = self._settle(clicks, now)
            people, machines = people + found.people, machines + found.machines
        self._database.write(partial(repository.forget, before=now - _REMEMBERED))
        return Settled(people, machines)

    def counts(self, since: datetime) -> dict[str, int]:
        """Return how many events since a moment are kept apart, by reason."""
        with self._database.read() as connection:
            return repository.by_reason(connection, since)

    def waiting(self) -> int:
        """Return how many clicks are held and not settled yet."""
        with self._database.read() as connection:
            return repository.waiting(connection)

    def not_a_machine(self, event_id: str, now: datetime) -> Taken:
        """Take in an event that a person did, whatever was thought of it; id and times stay.

        Raises:
            NotAside: no such event is kept apart.
        """
        with self._database.read() as connection:
            fact = one_aside(connection, Kind.MACHINE_EVENT, event_id)
        body = None if fact is None else body_of(fact)
        if body is None:
            raise NotAside(f"no event {event_id!r} is kept apart as a machine's; a user's history shows ids")
        (taken,) = self._intake.release([body], now, people=True)
        if taken.outcome is Outcome.DUPLICATE:
            # It fitted the tracking plan when it came and does not any more.
            raise NotAside(f"the event {event_id!r} does not fit the tracking plan; correct the plan first")
        self._database.write(partial(repository.settle, event_ids=[event_id], state=repository.PERSON))
        return taken

    def _hold(self, connection: Connection, limit: int, spec: MachinesSpec) -> tuple[int, int]:
        position = readers.position_of(connection, READER)
        found = ledger.read_after(connection, position, kind=_KINDS, limit=limit)
        if found:
            rows = [row for fact in found if (row := _held(fact, spec)) is not None]
            repository.hold(connection, rows)
            readers.advance(connection, READER, found[-1].seq, _KINDS)
        return len(found), len(found)

    def _settle(self, clicks: Sequence[Any], now: datetime) -> Settled:
        by_message: dict[str, list[Any]] = {}
        for click in clicks:
            by_message.setdefault(click.message_id, []).append(click)
        people: list[str] = []
        machines: list[str] = []
        for of_one in by_message.values():
            machine = by_machine(Click(one.link, one.links) for one in of_one)
            waiting = [one.event_id for one in of_one if one.state == repository.WAITING]
            (machines if machine else people).extend(waiting)
        for at in range(0, len(people), EVENTS_PER_WRITE):
            self._release(people[at : at + EVENTS_PER_WRITE], now)
        self._settling.write(self._database, machines, _are_machines)
        return Settled(len(people), len(machines))

    def _release(self, event_ids: Sequence[str], now: datetime) -> None:
        with self._database.read() as connection:
            found = ledger.known(connection, _KINDS, event_ids)
        bodies = [body for fact in found.values() if (body := body_of(fact)) is not None]
        self._intake.release(bodies, now, people=True)
        work = partial(repository.settle, event_ids=event_ids, state=repository.PERSON)
        self._database.write(work, rows=len(event_ids))


def _are_machines(connection: Connection, event_ids: Sequence[str]) -> int:
    repository.settle(connection, event_ids, repository.MACHINE)
    return len(event_ids)


def _held(fact: Fact, spec: MachinesSpec) -> dict[str, Any] | None:
    body: AsideBody | None = body_of(fact)
    if body is None or body.reason != Reason.HELD:
        return None
    properties = body.event.properties
    links = properties.get("links")
    known = isinstance(links, int) and not isinstance(links, bool) and 0 < links <= _MAX_LINKS
    return {
        "event_id": fact.id,
        "user_id": fact.user_id,
        "message_id": str(properties.get("message_id", "")),
        "link": str(properties.get("link", "")),
        "links": links if known else None,
        "due_at": due_at(body.event, spec),
        "state": repository.WAITING,
    }
