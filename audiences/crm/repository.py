"""SQL of what CRMs told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, or_, select, tuple_, update

from audiences.crm.mapping import CrmObject
from audiences.crm.tables import crm_inbox, crm_objects
from storage.upserts import insert_into

TAKEN = "taken"
QUARANTINED = "quarantined"


class HeldObject(msgspec.Struct, frozen=True):
    """The latest version of an object that is held."""

    type: str
    object_id: str
    updated_at: datetime
    user_id: str
    fields: dict[str, Any]


class Waiting(msgspec.Struct, frozen=True):
    """A webhook that could not be read, and why."""

    webhook_id: str
    received_at: datetime
    reason: str
    body: str


def claim(
    connection: Connection,
    source: str,
    webhook_id: str,
    received_at: datetime,
    reason: str | None,
    body: str | None,
) -> bool:
    """Record a webhook, with reason and body if it can't be read; returns False if its id is known."""
    row = {
        "source": source,
        "webhook_id": webhook_id,
        "received_at": received_at,
        "state": TAKEN if reason is None else QUARANTINED,
        "reason": reason,
        "body": body,
    }
    statement = insert_into(connection, crm_inbox).values(row).on_conflict_do_nothing()
    return connection.execute(statement.returning(crm_inbox.c.webhook_id)).first() is not None


def reason_of(connection: Connection, source: str, webhook_id: str) -> str | None:
    """Return why a webhook waits, None if it was taken."""
    query = select(crm_inbox.c.reason).where(
        crm_inbox.c.source == source,
        crm_inbox.c.webhook_id == webhook_id,
        crm_inbox.c.state == QUARANTINED,
    )
    reason: str | None = connection.execute(query).scalar()
    return reason


def waiting(connection: Connection, source: str, limit: int, after: str = "") -> list[Waiting]:
    """Return webhooks that could not be read, in the order of their ids, after one of them."""
    query = (
        select(crm_inbox)
        .where(
            crm_inbox.c.source == source,
            crm_inbox.c.state == QUARANTINED,
            crm_inbox.c.webhook_id > after,
        )
        .order_by(crm_inbox.c.webhook_id)
        .limit(limit)
    )
    return [
        Waiting(row.webhook_id, row.received_at, row.reason or "", row.body or "")
        for row in connection.execute(query)
    ]


def settle(connection: Connection, source: str, webhook_id: str, reason: str | None) -> bool:
    """Note that a waiting webhook was taken, or why it still can't be; returns whether it was waiting."""
    values: dict[str, Any] = (
        {"state": TAKEN, "reason": None, "body": None} if reason is None else {"reason": reason}
    )
    statement = update(crm_inbox).where(
        crm_inbox.c.source == source,
        crm_inbox.c.webhook_id == webhook_id,
        crm_inbox.c.state == QUARANTINED,
    )
    return connection.execute(statement.values(values)).rowcount == 1


def forget_taken(connection: Connection, before: datetime) -> None:
    """Delete the ids of webhooks that were taken before a moment."""
    connection.execute(delete(crm_inbox).where(crm_inbox.c.state == TAKEN, crm_inbox.c.received_at < before))


def keep(connection: Connection, told: CrmObject, user_id: str) -> bool:
    """Keep a version of an object if it is the latest; returns whether it is.

    Of two versions of one moment the one with the greater digest counts, whichever came first.
    """
    statement: Any = insert_into(connection, crm_objects).values(
        source=told.source,
        type=told.type,
        object_id=told.id,
        updated_at=told.updated_at,
        digest=told.digest,
        user_id=user_id,
        fields=msgspec.json.encode(told.fields).decode(),
    )
    new = statement.excluded
    later = or_(
        new.updated_at > crm_objects.c.updated_at,
        (new.updated_at == crm_objects.c.updated_at) & (new.digest >= crm_objects.c.digest),
    )
    replaced = {name: new[name] for name in ("updated_at", "digest", "user_id", "fields")}
    statement = statement.on_conflict_do_update(
        index_elements=["source", "type", "object_id"], set_=replaced, where=later
    )
    return connection.execute(statement.returning(crm_objects.c.object_id)).first() is not None


def held(
    connection: Connection, source: str, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], HeldObject]:
    """Return those objects (type, id) that are held."""
    query = select(crm_objects).where(
        crm_objects.c.source == source, tuple_(crm_objects.c.type, crm_objects.c.object_id).in_(keys)
    )
    return {(row.type, row.object_id): _held(row) for row in connection.execute(query)}


def all_held(connection: Connection, source: str, types: Sequence[str]) -> Iterator[HeldObject]:
    """Yield every object of some types that is held, in the order of types and ids."""
    query = (
        select(crm_objects)
        .where(crm_objects.c.source == source, crm_objects.c.type.in_(types))
        .order_by(crm_objects.c.type, crm_objects.c.object_id)
        .execution_options(yield_per=1_000)
    )
    for row in connection.execute(query):
        yield _held(row)


def _held(row: Any) -> HeldObject:
    return HeldObject(row.type, row.object_id, row.updated_at, row.user_id, msgspec.json.decode(row.fields))
