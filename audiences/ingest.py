"""Taking events in: acknowledged means durable, and a message id counts once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from sqlalchemy import Connection

from audiences import repository
from audiences.events import Event, EventBody
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind, NewFact
from storage.writer import TURN_ROWS, Lane

# Users are written beside their events; together they must fit one turn of the writer.
_EVENTS_PER_WRITE = TURN_ROWS // 2


def record(database: Database, events: Sequence[Event]) -> list[Future[int]]:
    """Queue events for the ledger; each future gives how many of its share were new, once durable.

    Raises:
        WriterBusy: too much waits already. What was queued before the refusal may still be recorded, and
            sending the same message ids again records them once.
    """
    shares = [events[start : start + _EVENTS_PER_WRITE] for start in range(0, len(events), _EVENTS_PER_WRITE)]
    return [
        database.writer.submit(partial(_write, events=share), rows=2 * len(share), lane=Lane.REQUEST)
        for share in shares
    ]


def _write(connection: Connection, events: Sequence[Event]) -> int:
    new = [
        NewFact(
            Kind.EVENT,
            event.event_id,
            event.name,
            event.user_id,
            event.occurred_at,
            EventBody(dict(event.properties)),
        )
        for event in events
    ]
    recorded = ledger.append_unless_known(connection, new, events[0].received_at)
    if recorded:
        repository.add_users(connection, [event for event in events if event.event_id in recorded])
    return len(recorded)
