"""SQL of receipts: which message is meant, what state it is in, and receipts that could not be used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, delete, func, not_, or_, select, tuple_, update

from delivery.models import MessageState
from delivery.outbox_repository import Queued, queued_columns
from delivery.receipts.tables import stray_receipts
from delivery.tables import outbox
from storage.upserts import insert_into

# Fields of what was told that tell of somebody.
NAMING = ("address", "sender", "text", "user_agent", "ip", "body")


class Held(msgspec.Struct, frozen=True, gc=False):
    """A message as the outbox has it."""

    queued: Queued
    state: MessageState


class Stray(msgspec.Struct, frozen=True):
    """A receipt that could not be used, why, and what was told."""

    channel: str
    event_id: str
    received_at: datetime
    reason: str
    body: str


def by_reference(connection: Connection, channel: str, reference: str) -> str | None:
    """Return the key of the message that a provider knows under a reference."""
    query = select(outbox.c.key).where(outbox.c.reference == reference, outbox.c.channel == channel)
    key: str | None = connection.execute(query.limit(1)).scalar()
    return key


def held(connection: Connection, key: str, *, lock: bool = False) -> Held | None:
    """Return a message; `lock`: until the end of the transaction nobody else settles it."""
    query = select(outbox.c.state, *queued_columns()).where(outbox.c.key == key)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else Held(Queued(*row[1:]), MessageState(row[0]))


def settle(connection: Connection, key: str, state: MessageState, reason: str | None) -> None:
    """Put a message into a state, and end whatever attempt is under way or to come."""
    values = {"state": state.value, "reason": reason, "available_at": None, "holder": None}
    connection.execute(update(outbox).where(outbox.c.key == key).values(values))


def put_aside(connection: Connection, strays: Sequence[Stray]) -> None:
    """Keep receipts that could not be used; of one that is known the reason is renewed."""
    if not strays:
        return
    statement: Any = insert_into(connection, stray_receipts)
    keys = ["channel", "event_id"]
    renewed = {"reason": statement.excluded.reason}
    rows = [
        msgspec.structs.asdict(one) for one in sorted(strays, key=lambda one: (one.channel, one.event_id))
    ]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=renewed), rows)


def strays(
    connection: Connection,
    limit: int,
    *,
    channel: str | None = None,
    since: datetime | None = None,
    after: str = "",
) -> list[Stray]:
    """Return receipts that could not be used, in the order of their ids, of a channel, from a moment on."""
    query = select(stray_receipts).where(stray_receipts.c.event_id > after)
    if channel is not None:
        query = query.where(stray_receipts.c.channel == channel)
    if since is not None:
        query = query.where(stray_receipts.c.received_at >= since)
    rows = connection.execute(query.order_by(stray_receipts.c.event_id).limit(limit))
    return [Stray(*row) for row in rows]


def forget(connection: Connection, used: Sequence[Stray]) -> None:
    """Forget receipts that were used after all."""
    keys = tuple_(stray_receipts.c.channel, stray_receipts.c.event_id)
    if used:
        connection.execute(
            delete(stray_receipts).where(keys.in_([(one.channel, one.event_id) for one in used]))
        )


def naming(connection: Connection, before: datetime, limit: int) -> list[Stray]:
    """Return receipts that came before a moment and still tell of somebody."""
    body = stray_receipts.c.body
    named = [
        and_(body.contains(f'"{field}":"', autoescape=True), not_(body.contains(f'"{field}":""')))
        for field in NAMING
    ]
    query = select(stray_receipts).where(stray_receipts.c.received_at < before, or_(*named))
    return [Stray(*row) for row in connection.execute(query.order_by(stray_receipts.c.event_id).limit(limit))]


def renew(connection: Connection, strays: Sequence[Stray]) -> None:
    """Keep receipts with other bodies and reasons."""
    for one in strays:
        mine = (stray_receipts.c.channel == one.channel) & (stray_receipts.c.event_id == one.event_id)
        connection.execute(update(stray_receipts).where(mine).values(body=one.body, reason=one.reason))


def erase_naming(connection: Connection, addresses: Sequence[str], limit: int) -> int:
    """Forget receipts in which one of some addresses is named, at most so many; returns how many."""
    if not addresses:
        return 0
    named = or_(
        *(func.lower(stray_receipts.c.body).contains(one.lower(), autoescape=True) for one in addresses)
    )
    query = select(stray_receipts).where(named).order_by(stray_receipts.c.event_id).limit(limit)
    found = [Stray(*row) for row in connection.execute(query)]
    forget(connection, found)
    return len(found)


def forget_before(connection: Connection, before: datetime) -> None:
    """Forget receipts that came before a moment."""
    connection.execute(delete(stray_receipts).where(stray_receipts.c.received_at < before))
