"""SQL of held clicks and machine events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Text, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import JSON

from audiences.machines.tables import held_clicks
from storage.ledger import Kind
from storage.schema import facts
from storage.times import to_micros
from storage.upserts import insert_into

WAITING, PERSON, MACHINE = "waiting", "person", "machine"


def hold(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Let clicks wait; those known already stay as they are."""
    if rows:
        connection.execute(insert_into(connection, held_clicks).on_conflict_do_nothing(), list(rows))


def due(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Return the ids of messages with clicks whose wait is over, those waiting longest first."""
    query = (
        select(held_clicks.c.message_id)
        .where(held_clicks.c.state == WAITING, held_clicks.c.due_at <= now)
        .order_by(held_clicks.c.due_at)
        .limit(limit)
    )
    return list(dict.fromkeys(connection.execute(query).scalars()))


def clicks_of(connection: Connection, messages: Collection[str]) -> list[Any]:
    """Return all held clicks of some messages."""
    return list(connection.execute(select(held_clicks).where(held_clicks.c.message_id.in_(messages))))


def settle(connection: Connection, event_ids: Collection[str], state: str) -> None:
    """Say whose clicks they were."""
    connection.execute(update(held_clicks).where(held_clicks.c.event_id.in_(event_ids)).values(state=state))


def forget(connection: Connection, before: datetime) -> None:
    """Forget settled clicks that were due before a moment."""
    connection.execute(
        delete(held_clicks).where(held_clicks.c.state != WAITING, held_clicks.c.due_at < before)
    )


def waiting(connection: Connection) -> int:
    """Return how many clicks wait."""
    query = select(func.count()).select_from(held_clicks).where(held_clicks.c.state == WAITING)
    return connection.execute(query).scalar_one()


def by_reason(connection: Connection, since: datetime) -> dict[str, int]:
    """Return how many machine events happened since a moment and stay apart, by reason."""
    body = facts.c.body
    reason = (
        func.json_extract(body, "$.reason")
        if connection.dialect.name == "sqlite"
        else cast(body, JSON)["reason"].as_string()
    )
    later = facts.alias("later")
    taken = (
        select(later.c.seq)
        .where(later.c.kind.in_([Kind.EVENT.value, Kind.PAST_EVENT.value]), later.c.id == facts.c.id)
        .exists()
    )
    named = cast(reason, Text).label("reason")
    query = (
        select(named, func.count())
        .where(facts.c.kind == Kind.MACHINE_EVENT.value, facts.c.occurred_at >= to_micros(since), ~taken)
        .group_by(named)
    )
    return {name or "erased": int(number) for name, number in connection.execute(query)}
