"""SQL of data quality: arrivals, and the properties of events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, select, type_coerce
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from audiences.quality.tables import arrivals, event_properties
from storage.statements import Statement
from storage.times import to_micros
from storage.upserts import insert_into

FIGURES = (
    "accepted",
    "duplicate",
    "conflict",
    "quarantined",
    "machine",
    "refused",
    "late",
    "released",
    "imported",
)
_MINUTE = 60_000_000
# Hour of arrival, source, event name.
Key = tuple[datetime, str, str]


def _adding(insert: Any, greatest: Any) -> Statement:
    names = ("hour", "source", "name", "part", *FIGURES, "minutes", "last_at")
    # Plain numbers are given, so the type of a moment must not convert them again.
    statement = insert(arrivals).values({name: bindparam(name, type_=_plain(name)) for name in names})
    grown: dict[str, Any] = {name: arrivals.c[name] + statement.excluded[name] for name in FIGURES}
    before = func.coalesce(arrivals.c.last_at, type_coerce(0, _plain("last_at")))
    after = func.coalesce(statement.excluded.last_at, before)
    grown["last_at"] = greatest(before, after)
    newer = (after - after % _MINUTE) > before
    grown["minutes"] = arrivals.c.minutes + case((newer, statement.excluded.minutes), else_=0)
    return Statement(
        statement.on_conflict_do_update(index_elements=["hour", "source", "name", "part"], set_=grown)
    )


def _plain(name: str) -> Any:
    kind = arrivals.c[name].type
    return getattr(kind, "impl", kind)


_ADD = {"sqlite": _adding(sqlite_insert, func.max), "postgresql": _adding(postgres_insert, func.greatest)}


def count(
    connection: Connection,
    rows: Mapping[Key, Mapping[str, int]],
    alive: Mapping[Key, Collection[datetime]],
    part: int,
) -> None:
    """Add figures to those of their hour, source and name; `alive` are the moments at which they arrived."""
    _ADD[connection.dialect.name].run_many(
        connection,
        [
            {
                "hour": to_micros(key[0]),
                "source": key[1],
                "name": key[2],
                "part": part,
                **figures,
                **_life(alive.get(key, ())),
            }
            # Two writers that take the same rows in different orders would wait for each other for ever.
            for key, figures in sorted(rows.items())
        ],
    )


def _life(moments: Collection[datetime]) -> dict[str, int | None]:
    micros = [to_micros(moment) for moment in moments]
    return {"minutes": len({one // _MINUTE for one in micros}), "last_at": max(micros, default=None)}


def figures(
    connection: Connection, since: datetime, *, by: Sequence[str] = ("source", "name")
) -> list[dict[str, Any]]:
    """Return the figures of hours from `since` on, summed by these columns of the table."""
    groups = [arrivals.c[name] for name in by]
    sums = [func.sum(arrivals.c[name]).label(name) for name in FIGURES]
    query = select(*groups, *sums).where(arrivals.c.hour >= since).group_by(*groups).order_by(*groups)
    return [
        {name: int(value) if name in FIGURES else value for name, value in row._mapping.items()}
        for row in connection.execute(query)
    ]


def properties(connection: Connection) -> list[tuple[str, str, int, datetime]]:
    """Return every event name and property that was received, in how many events and when last."""
    query = select(
        event_properties.c.event,
        event_properties.c.property,
        event_properties.c.number,
        event_properties.c.last_at,
    ).order_by(event_properties.c.event, event_properties.c.property)
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]


def known_properties(connection: Connection, events: Iterable[str]) -> set[tuple[str, str]]:
    """Return which properties of these events are counted already."""
    query = select(event_properties.c.event, event_properties.c.property).where(
        event_properties.c.event.in_(list(events))
    )
    return {(row[0], row[1]) for row in connection.execute(query)}


def add_properties(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Count properties of events; rows have the columns of `event_properties`."""
    if not rows:
        return
    greatest = func.max if connection.dialect.name == "sqlite" else func.greatest
    statement = insert_into(connection, event_properties)
    grown = {
        "number": event_properties.c.number + statement.excluded.number,
        "last_at": greatest(event_properties.c.last_at, statement.excluded.last_at),
    }
    connection.execute(
        statement.on_conflict_do_update(index_elements=["event", "property"], set_=grown), list(rows)
    )
