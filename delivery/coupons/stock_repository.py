"""SQL of codes that were made elsewhere and wait to be given, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from delivery.coupons.tables import coupon_batches as batches
from delivery.coupons.tables import coupon_codes as codes
from delivery.coupons.tables import coupons


class Level(NamedTuple):
    """How many codes of an offer were added, how many are left, and how many were given since a moment."""

    offer: str
    added: int
    left: int
    given: int


def begin(connection: Connection, batch: str, offer: str, now: datetime) -> None:
    """Begin a batch, which nothing is given of before it is whole."""
    upsert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    connection.execute(upsert(batches).values(id=batch, offer=offer, added_at=now))


def add(connection: Connection, batch: str, some: Sequence[str]) -> set[str]:
    """Add codes to a batch; return those that are in a stock or a wallet already."""
    upsert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = upsert(codes).on_conflict_do_nothing(index_elements=["code"]).returning(codes.c.code)
    rows = [{"code": one, "batch": batch} for one in sorted(some)]
    added = set(connection.execute(statement, rows).scalars())
    given = set(connection.execute(select(coupons.c.code).where(coupons.c.code.in_(some))).scalars())
    return (set(some) - added) | given


def finish(connection: Connection, batch: str, now: datetime) -> int | None:
    """Let codes of a batch be given from now on; return how many, None if another import took it away."""
    done = update(batches).where(batches.c.id == batch, batches.c.whole_at.is_(None)).values(whole_at=now)
    if connection.execute(done).rowcount != 1:
        return None
    return connection.execute(select(func.count()).where(codes.c.batch == batch)).scalar_one()


def unfinished(connection: Connection) -> list[str]:
    """Return the batches whose import did not come to its end."""
    return list(connection.execute(select(batches.c.id).where(batches.c.whole_at.is_(None))).scalars())


def take_away(connection: Connection, batch: str, limit: int) -> int:
    """Take away codes of an unfinished batch, and it with the last of them; return how many codes."""
    some = select(codes.c.code).where(codes.c.batch == batch).limit(limit)
    gone = connection.execute(delete(codes).where(codes.c.code.in_(some))).rowcount
    if not gone:
        connection.execute(delete(batches).where(batches.c.id == batch, batches.c.whole_at.is_(None)))
    return gone


def draw(connection: Connection, offer: str, coupon_id: str, now: datetime) -> str | None:
    """Give a code of an offer to a coupon, those added first before others; None when there is none left."""
    whole = select(batches.c.id).where(batches.c.offer == offer, batches.c.whole_at.is_not(None))
    free = select(codes.c.code).where(codes.c.batch.in_(whole), codes.c.coupon_id.is_(None))
    first = free.order_by(codes.c.batch, codes.c.code).limit(1).with_for_update(skip_locked=True)
    code = connection.execute(first).scalar()
    if code is not None:
        given = update(codes).where(codes.c.code == code).values(coupon_id=coupon_id, given_at=now)
        connection.execute(given)
    return code


def are_known(connection: Connection, some: Collection[str]) -> set[str]:
    """Return those codes that are in a stock."""
    return set(connection.execute(select(codes.c.code).where(codes.c.code.in_(some))).scalars())


def levels(connection: Connection, since: datetime) -> list[Level]:
    """Return the level of each offer that has a stock."""
    query = (
        select(
            batches.c.offer,
            func.count(),
            _number(codes.c.coupon_id.is_(None)),
            _number(codes.c.given_at >= since),
        )
        .join(codes, codes.c.batch == batches.c.id)
        .where(batches.c.whole_at.is_not(None))
        .group_by(batches.c.offer)
        .order_by(batches.c.offer)
    )
    return [Level(*row) for row in connection.execute(query)]


def _number(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
