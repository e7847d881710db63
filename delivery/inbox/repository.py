"""SQL of the inbox. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update

from delivery.inbox.tables import inbox
from storage.upserts import insert_into


class Notice(msgspec.Struct, frozen=True):
    """A message in the app."""

    key: str
    user_id: str
    channel: str
    subject: str
    body: str
    arrived_at: datetime
    expires_at: datetime
    read_at: datetime | None = None
    dismissed_at: datetime | None = None


def put(connection: Connection, notice: Notice) -> None:
    """Keep a message, unless one with its key is there."""
    insert = insert_into(connection, inbox).values(msgspec.structs.asdict(notice))
    connection.execute(insert.on_conflict_do_nothing())


def of_users(
    connection: Connection,
    profiles: Sequence[str],
    now: datetime,
    *,
    unread: bool,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[Notice]:
    """Return what a person's profiles are to see, newest first: what neither expired nor was dismissed.

    Args:
        after: moment and key of the last one of the page before.
    """
    query = select(inbox).where(_open(profiles, now))
    if unread:
        query = query.where(inbox.c.read_at.is_(None))
    if after is not None:
        at, key = after
        same = and_(inbox.c.arrived_at == at, inbox.c.key < key)
        query = query.where(or_(inbox.c.arrived_at < at, same))
    query = query.order_by(inbox.c.arrived_at.desc(), inbox.c.key.desc()).limit(limit)
    return [Notice(*row) for row in connection.execute(query)]


def unread_of(connection: Connection, profiles: Sequence[str], now: datetime) -> int:
    """Return how many of those were not read."""
    query = select(func.count()).select_from(inbox)
    counted = connection.execute(query.where(_open(profiles, now), inbox.c.read_at.is_(None)))
    return int(counted.scalar_one())


def find(connection: Connection, key: str, profiles: Sequence[str]) -> Notice | None:
    """Return a message of a person and lock it, None where they have none of this key."""
    query = select(inbox).where(inbox.c.key == key, inbox.c.user_id.in_(profiles)).with_for_update()
    row = connection.execute(query).one_or_none()
    return None if row is None else Notice(*row)


def mark(connection: Connection, notice: Notice) -> None:
    """Keep when a message was read and dismissed."""
    values = {"read_at": notice.read_at, "dismissed_at": notice.dismissed_at}
    connection.execute(update(inbox).where(inbox.c.key == notice.key).values(values))


def let_go(connection: Connection, now: datetime, limit: int) -> int:
    """Take away at most so many messages that have expired, and return how many."""
    piece = select(inbox.c.key).where(inbox.c.expires_at <= now).order_by(inbox.c.expires_at).limit(limit)
    return connection.execute(delete(inbox).where(inbox.c.key.in_(piece))).rowcount


def _open(profiles: Sequence[str], now: datetime) -> ColumnElement[bool]:
    return and_(inbox.c.user_id.in_(profiles), inbox.c.expires_at > now, inbox.c.dismissed_at.is_(None))
