"""SQL of calls that are remembered by their idempotency key, in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from delivery.coupons.tables import coupon_calls
from storage.engine import Database
from storage.statements import Statement
from storage.times import to_micros

_BEFORE = Statement(
    select(coupon_calls.c.key)
    .where(coupon_calls.c.called_at < bindparam("before"))
    .order_by(coupon_calls.c.called_at)
    .limit(1)
)


class Call(NamedTuple):
    """A call under a key: hashes of the key and of what was asked; whose coupon it was about."""

    key: str
    fingerprint: str
    user_id: str
    called_at: datetime
    answer: str


def find(connection: Connection, key: str) -> Call | None:
    """Return the call that was made under a key."""
    query = select(*(coupon_calls.c[name] for name in Call._fields)).where(coupon_calls.c.key == key)
    row = connection.execute(query).first()
    return None if row is None else Call(*row)


def remember(connection: Connection, call: Call) -> None:
    """Remember a call; of two at once under one key the first stays."""
    upsert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    connection.execute(upsert(coupon_calls).values(call._asdict()).on_conflict_do_nothing())


def anything_before(database: Database, before: datetime) -> bool:
    """Whether a call was made before a moment, in what is committed."""
    return bool(database.look(_BEFORE, {"before": to_micros(before)}))


def forget(connection: Connection, before: datetime, limit: int) -> None:
    """Take away calls that were made before a moment, at most so many."""
    old = select(coupon_calls.c.key).where(coupon_calls.c.called_at < before).limit(limit)
    connection.execute(delete(coupon_calls).where(coupon_calls.c.key.in_(old)))
