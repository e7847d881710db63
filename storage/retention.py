"""Retention: facts of a kind are taken away when they are older than that kind is kept.

Small pieces through the writer, so that nobody waits for them. What a reader of that kind has not taken yet
stays, as does what somebody says they still need, and the kept counters go on counting what is gone
(`storage.projection`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from storage import projection, readers
from storage.engine import Database
from storage.errors import ConfigurationError
from storage.ledger import Kind
from storage.pace import Pace
from storage.projection import DAY_MICROS, Added
from storage.schema import cursors, fact_counts, facts
from storage.times import to_micros
from storage.writer import TURN_ROWS

# Days for which each kind is kept; a kind that is not named, or has None, is kept for ever.
Retention = Mapping[Kind, int | None]

# Each fact that goes changes at most one row of the counters.
_PIECE_ROWS = TURN_ROWS // 2


class Needed(NamedTuple):
    """From when on facts are needed whatever their retention, and by whom."""

    since: datetime
    by: str


_NOTHING: Mapping[Kind, Needed] = MappingProxyType({})


class Purged(NamedTuple):
    """What became of a kind: facts taken away, and those that are old enough but wait for `held_by`."""

    kind: Kind
    purged: int
    held: int
    held_by: str | None


def retention_of(given: Mapping[str, int | None]) -> dict[Kind, int | None]:
    """Return what a settings document says of retention: days by kind, None for ever.

    Raises:
        ConfigurationError: an unknown kind, or a number of days below 1.
    """
    kinds = ", ".join(Kind)
    for kind, days in given.items():
        if kind not in set(Kind):
            raise ConfigurationError(f"retention: there is no kind {kind!r}; the kinds are {kinds}")
        if days is not None and days < 1:
            raise ConfigurationError(
                f"retention: {kind} can't be kept for {days} days; write 1 or more, or leave it out"
            )
    return {Kind(kind): days for kind, days in given.items()}


def purge(
    database: Database, retention: Retention, now: datetime, needed: Mapping[Kind, Needed] = _NOTHING
) -> list[Purged]:
    """Take away the facts that happened more days ago than their kind is kept, whole UTC days only.

    May be interrupted anywhere and called again. Facts that a reader of their kind has still to take stay,
    and so do those that are `needed`.
    """
    projection.catch_up(database)
    pace = Pace(_PIECE_ROWS)
    result = []
    for kind, days in retention.items():
        if days is None:
            continue
        before = _day(now - timedelta(days=days))
        need = needed.get(kind)
        until = before if need is None else min(before, _day(need.since))
        with database.read() as connection:
            labels = _labels(connection, kind)
        purged = sum(_purge_label(database, pace, kind, label, until) for label in labels)
        with database.read() as connection:
            result.append(_report(connection, kind, before, purged, need if until < before else None))
    return result


def _day(moment: datetime) -> int:
    """Return when the UTC day of a moment began."""
    return to_micros(moment) // DAY_MICROS * DAY_MICROS


def _labels(connection: Connection, kind: Kind) -> list[str]:
    left = fact_counts.c.number > fact_counts.c.purged
    query = select(fact_counts.c.label).where(fact_counts.c.kind == kind, left).distinct()
    return sorted(connection.execute(query).scalars())


def _purge_label(database: Database, pace: Pace, kind: Kind, label: str, before: int) -> int:
    def some(connection: Connection, limit: int) -> tuple[int, int]:
        gone = _purge_piece(connection, kind, label, before, limit)
        return gone, gone

    return pace.until_done(database, some, rows_each=2)


def _purge_piece(connection: Connection, kind: Kind, label: str, before: int, limit: int) -> int:
    piece = (
        select(facts.c.seq)
        .where(
            facts.c.kind == kind,
            facts.c.label == label,
            facts.c.occurred_at < before,
            # The counters' own cursor is among them, so nothing goes uncounted; without any, nothing goes.
            facts.c.seq <= select(func.min(cursors.c.position)).where(readers.takes(kind)).scalar_subquery(),
        )
        .order_by(facts.c.occurred_at)
        .limit(limit)
    )
    gone = connection.execute(delete(facts).where(facts.c.seq.in_(piece)).returning(facts.c.occurred_at))
    days: dict[int, int] = {}
    for occurred_at in gone.scalars():
        days[occurred_at // DAY_MICROS] = days.get(occurred_at // DAY_MICROS, 0) + 1
    projection.add(connection, [Added(kind, label, day, 0, number) for day, number in days.items()])
    return sum(days.values())


def _report(connection: Connection, kind: Kind, before: int, purged: int, need: Needed | None) -> Purged:
    held = select(func.count()).where(facts.c.kind == kind, facts.c.occurred_at < before)
    number = connection.execute(held).scalar_one()
    if number and need is not None:
        return Purged(kind, purged, number, need.by)
    slowest = (
        select(cursors.c.reader).where(readers.takes(kind)).order_by(cursors.c.position, cursors.c.reader)
    )
    return Purged(kind, purged, number, connection.execute(slowest.limit(1)).scalar() if number else None)
