"""Data quality of one service: counts the properties of events, and reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences.events import EventBody
from audiences.quality import repository
from audiences.quality.repository import FIGURES
from audiences.quality.utilisation import Property, utilisation
from storage import ledger, readers
from storage.engine import Database
from storage.ledger import Kind
from storage.standing_aside import stand_aside

READER = "quality.properties"
_KINDS = (Kind.EVENT, Kind.PAST_EVENT)
# Events have up to a thousand properties; together they must fit a turn of the writer.
_READ_EVENTS = 2_000
_MAX_ROWS = 400
# Properties that are told apart in events of one name; what comes beyond is counted as one, under this name.
_MAX_PROPERTIES = 1_000
BEYOND = "…"


class Quality:
    """Figures of one service."""

    def __init__(self, database: Database, used: Collection[Property] = ()) -> None:
        """`used` is what features, rules and goals read: event names and properties."""
        self._database = database
        self._used = frozenset(used)

    def run(self) -> int:
        """Count the properties of new events; return how many events there were."""
        seen = 0
        while True:
            with self._database.read() as connection:
                position = readers.position_of(connection, READER)
                found = ledger.read_after(connection, position, kind=_KINDS, limit=_READ_EVENTS)
            if not found:
                return seen
            counted: Counter[Property] = Counter()
            latest: dict[Property, datetime] = {}
            last, taken = position, 0
            for fact in found:
                stand_aside()
                try:
                    body: EventBody = fact.decode(EventBody)
                except msgspec.ValidationError:
                    body = EventBody()
                pairs = [(fact.label, name) for name in body.properties]
                if taken and len({*counted, *pairs}) > _MAX_ROWS:
                    break
                for pair in pairs:
                    counted[pair] += 1
                    latest[pair] = max(fact.occurred_at, latest.get(pair, fact.occurred_at))
                last, taken = fact.seq, taken + 1
            if not self._write(position, last, counted, latest):
                return seen
            seen += taken

    def report(self, now: datetime, *, hours: int = 24) -> dict[str, Any]:
        """Return the figures of the last hours by source and name, their sums, and the utilisation."""
        with self._database.read() as connection:
            return report_of(connection, self._used, now, hours=hours)

    def by_hour(self, now: datetime, *, hours: int = 24) -> list[dict[str, Any]]:
        """Return the figures of the last hours by hour, source and name."""
        with self._database.read() as connection:
            return repository.figures(connection, _since(now, hours), by=("hour", "source", "name"))

    def _write(
        self, before: int, last: int, counted: Counter[Property], latest: dict[Property, datetime]
    ) -> bool:
        def work(connection: Connection) -> bool:
            if not readers.advance_from(connection, READER, before, last, _KINDS):
                return False
            known = repository.known_properties(connection, {event for event, _ in counted})
            rows = _bounded(known, counted, latest)
            repository.add_properties(connection, rows)
            return True

        return self._database.write(work, rows=min(len(counted) + 1, _MAX_ROWS + 1))


def report_of(
    connection: Connection, used: Collection[Property], now: datetime, *, hours: int
) -> dict[str, Any]:
    """Return the report of `Quality.report` from a connection."""
    since = _since(now, hours)
    rows = repository.figures(connection, since)
    received = [(event, name, number) for event, name, number, _ in repository.properties(connection)]
    return {
        "since": since,
        "hours": hours,
        "total": {name: sum(row[name] for row in rows) for name in FIGURES},
        "sources": rows,
        "utilisation": msgspec.to_builtins(utilisation(received, used)),
    }


def _since(now: datetime, hours: int) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)


def _bounded(
    known: set[Property], counted: Counter[Property], latest: dict[Property, datetime]
) -> list[dict[str, Any]]:
    """Return the rows to write, of which no event name gets more than `_MAX_PROPERTIES` different ones."""
    room = Counter({event: _MAX_PROPERTIES for event, _ in counted})
    for event, _ in known:
        room[event] -= 1
    rows: dict[Property, dict[str, Any]] = {}
    for (event, name), number in sorted(counted.items()):
        kept = name
        if (event, name) not in known:
            if room[event] > 0:
                room[event] -= 1
            else:
                kept = BEYOND
        row = rows.setdefault(
            (event, kept),
            {"event": event, "property": kept, "number": 0, "last_at": latest[event, name]},
        )
        row["number"] += number
        row["last_at"] = max(row["last_at"], latest[event, name])
    return list(rows.values())
