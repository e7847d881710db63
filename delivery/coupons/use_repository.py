"""SQL of what orders do with coupons. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, insert, select, update

from delivery.coupons.models import Standing, Use
from delivery.coupons.tables import coupon_uses
from playbooks.counters.repository import lock_user
from storage.engine import Database
from storage.statements import Statement
from storage.times import to_micros

_DUE = Statement(
    select(coupon_uses.c.id)
    .where(coupon_uses.c.until <= bindparam("now"))
    .order_by(coupon_uses.c.until, coupon_uses.c.id)
    .limit(1)
)
# Nobody's user id begins so: of orders, which are locked in the same space.
_ORDER = "order\x1e"


def lock_order(connection: Connection, order_id: str) -> None:
    """Let one transaction at a time deal with an order; SQLite has one writer anyway."""
    lock_user(connection, f"{_ORDER}{order_id}")


def find(connection: Connection, coupon_id: str, order_id: str) -> Use | None:
    """Return what an order does with a coupon."""
    mine = (coupon_uses.c.coupon_id == coupon_id) & (coupon_uses.c.order_id == order_id)
    row = connection.execute(_uses().where(mine)).first()
    return None if row is None else _use(row)


def of_order(connection: Connection, order_id: str) -> list[Use]:
    """Return what an order does with its coupons."""
    return [_use(row) for row in connection.execute(_uses().where(coupon_uses.c.order_id == order_id))]


def of_coupons(connection: Connection, coupon_ids: Sequence[str], limit: int) -> dict[str, list[Use]]:
    """Return the latest uses of coupons by coupon, newest first, at most so many in all."""
    query = _uses().where(coupon_uses.c.coupon_id.in_(coupon_ids))
    query = query.order_by(coupon_uses.c.at.desc(), coupon_uses.c.id).limit(limit)
    found: dict[str, list[Use]] = {}
    for row in connection.execute(query):
        found.setdefault(row.coupon_id, []).append(_use(row))
    return found


def reserved_of(connection: Connection, coupon_id: str) -> list[Use]:
    """Return the reservations of a coupon, whether they have run out or not."""
    query = _uses().where(coupon_uses.c.coupon_id == coupon_id, coupon_uses.c.until.is_not(None))
    return [_use(row) for row in connection.execute(query)]


def anything_due(database: Database, now: datetime) -> bool:
    """Whether a reservation has run out, in what is committed."""
    return bool(database.look(_DUE, {"now": to_micros(now)}))


def due(connection: Connection, now: datetime, limit: int) -> list[Use]:
    """Return reservations that have run out, longest first."""
    query = _uses().where(coupon_uses.c.until <= now)
    rows = connection.execute(query.order_by(coupon_uses.c.until, coupon_uses.c.id).limit(limit))
    return [_use(row) for row in rows]


def still_due(connection: Connection, ids: Collection[str], now: datetime) -> list[Use]:
    """Return those of these reservations that have run out; their coupons are locked."""
    query = _uses().where(coupon_uses.c.id.in_(ids), coupon_uses.c.until <= now)
    return [_use(row) for row in connection.execute(query.order_by(coupon_uses.c.id))]


def keep(connection: Connection, use: Use) -> None:
    """Write a use as it is now, whose coupon is locked; the first revision is new."""
    values = msgspec.structs.asdict(use) | {"standing": use.standing.value}
    if use.revision == 1:
        connection.execute(insert(coupon_uses).values(values))
    else:
        connection.execute(update(coupon_uses).where(coupon_uses.c.id == use.id).values(values))


def _uses() -> Select[Any]:
    return select(*(coupon_uses.c[name] for name in Use.__struct_fields__))


def _use(row: Sequence[Any]) -> Use:
    values = dict(zip(Use.__struct_fields__, row, strict=True))
    return Use(**values | {"standing": Standing(values["standing"])})
