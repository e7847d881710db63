"""Counts what comes in, in the transaction that records it (see `audiences.intake.ports.Arrivals`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from audiences.intake.intake import Outcome
from audiences.intake.ports import Judged
from audiences.quality import repository
from audiences.quality.repository import FIGURES, Key
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError

_log = structlog.get_logger(__name__)

# Two writers that count in one row would wait for each other's commit; so many may write at once before two
# do. SQLite has one writer.
_PARTS = 16
_COLUMN: Mapping[str, str] = {
    Outcome.RECORDED: "accepted",
    Outcome.DUPLICATE: "duplicate",
    Outcome.CONFLICT: "conflict",
    Outcome.QUARANTINED: "quarantined",
    Outcome.MACHINE: "machine",
}
# Refusals are counted under this name.
NAMELESS = ""

# Told how many events were late.
Told = Callable[[int], None]


class CountedArrivals:
    """Counts arrivals by source, event name and hour: one row for each of them in a write."""

    def __init__(self, late_after: timedelta, told: Told = lambda _number: None) -> None:
        """Take an event for late that arrives more than `late_after` after it happened."""
        self._late_after = late_after
        self._told = told

    def add(
        self, connection: Connection, judged: Sequence[Judged], outcomes: Sequence[str], *, released: bool
    ) -> None:
        """Count events and what became of each.

        What was released had been counted when it was set aside: only what is recorded now is counted again,
        as accepted and as released, in the hour in which the event arrived.
        """
        rows: dict[Key, dict[str, int]] = {}
        alive: dict[Key, set[datetime]] = {}
        for one, outcome in zip(judged, outcomes, strict=True):
            column = _COLUMN[outcome]
            if released and column not in ("accepted", "machine"):
                continue
            event = one.event
            key = (hour_of(event.received_at), event.source, event.name)
            figures = rows.get(key)
            if figures is None:
                figures = rows[key] = dict.fromkeys(FIGURES, 0)
            figures[column] += 1
            if not (one.past or released):
                alive.setdefault(key, set()).add(event.received_at)
            if released:
                figures["released"] += 1
            if column == "accepted":
                if one.past:
                    figures["imported"] += 1
                elif event.received_at - event.occurred_at > self._late_after:
                    figures["late"] += 1
        repository.count(connection, rows, alive, _part(connection))
        if late := sum(figures["late"] for figures in rows.values()):
            self._told(late)


class Refusals:
    """Counts messages that were refused and so never reach the intake."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, source: str, number: int) -> None:
        """Count refused messages of a source; what they were events of is not known.

        Nobody waits for it: a count that is lost with a crash is better than a slower answer.
        """
        key = (hour_of(self._clock.now()), source, NAMELESS)
        rows = {key: {**dict.fromkeys(FIGURES, 0), "refused": number}}
        try:
            self._database.writer.submit(
                lambda connection: repository.count(connection, rows, {}, _part(connection))
            )
        except NextplayError as error:
            _log.warning("refusals are not counted", code=error.code, error=str(error))


def hour_of(moment: datetime) -> datetime:
    """Return the beginning of a moment's hour."""
    return moment.replace(minute=0, second=0, microsecond=0)


def _part(connection: Connection) -> int:
    if connection.dialect.name == "sqlite":
        return 0
    return hash((os.getpid(), threading.get_ident())) % _PARTS
