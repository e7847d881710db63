"""SQL of the wallet. Every function works in its caller's transaction; a claim locks what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, case, insert, null, select, update

from delivery.coupons.models import Coupon, State
from delivery.coupons.tables import coupons
from delivery.parking_repository import RUN
from delivery.tables import parked
from playbooks.offers import Terms
from storage.engine import Database
from storage.statements import Statement
from storage.times import to_micros

# Where in a row, as in a coupon, the terms stand.
_TERMS = Coupon.__struct_fields__.index("terms")


def add_coupons(connection: Connection, new: Sequence[Coupon]) -> None:
    """Record issued coupons whose ids and codes are fresh."""
    rows = [
        {
            "id": one.id,
            "code": one.code,
            "user_id": one.user_id,
            "enrolment_id": one.enrolment_id,
            "decision_id": one.decision_id,
            "offer": one.offer,
            "state": State.ISSUED.value,
            "issued_at": to_micros(one.issued_at),
            "expires_at": (expires_at := to_micros(one.expires_at)),
            "closes_at": expires_at,
            "terms": encoded(one.terms),
            "liability": one.liability,
            "uses": one.uses,
            "reopened": one.reopened,
        }
        for one in new
    ]
    _ADD_COUPON.run_many(connection, rows)


def open_coupons_of(connection: Connection, enrolment_ids: Sequence[str]) -> list[Coupon]:
    """Return and lock the coupons of these enrolments that were neither used nor expired."""
    query = (
        _coupons()
        .where(coupons.c.enrolment_id.in_(enrolment_ids), coupons.c.closes_at.is_not(None))
        .order_by(coupons.c.id)
        .with_for_update()
    )
    return [coupon_of(row) for row in connection.execute(query)]


def ends_of(connection: Connection, enrolment_ids: Sequence[str]) -> dict[str, list[tuple[str, datetime]]]:
    """Return state and end of the coupons that enrolments issued, by enrolment; those that issued any."""
    query = select(coupons.c.enrolment_id, coupons.c.state, coupons.c.expires_at)
    found: dict[str, list[tuple[str, datetime]]] = {}
    for enrolment, state, end in connection.execute(query.where(coupons.c.enrolment_id.in_(enrolment_ids))):
        found.setdefault(enrolment, []).append((state, end))
    return found


def anything_expires(database: Database, now: datetime) -> bool:
    """Whether the time of an open coupon is over, in what is committed."""
    return bool(database.look(_EXPIRES, {"now": to_micros(now)}))


def claim_expiring(connection: Connection, now: datetime, limit: int) -> list[Coupon]:
    """Return and lock the open coupons whose time is over, longest first.

    Those of a run that a control stops wait with it: that they were used may not have been told to it yet.
    """
    stopped = select(parked.c.id).where(parked.c.kind == RUN, parked.c.id == coupons.c.enrolment_id)
    query = (
        _coupons()
        .where(coupons.c.closes_at <= now, ~stopped.exists())
        .order_by(coupons.c.closes_at, coupons.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [coupon_of(row) for row in connection.execute(query)]


def close_coupons(connection: Connection, closed: Sequence[Coupon], state: State) -> None:
    """Mark coupons claimed in this transaction as used, expired or void."""
    _CLOSE_COUPON.run_many(connection, [{"this": one.id, "to_state": state.value} for one in closed])


def find(connection: Connection, code: str, *, lock: bool = False) -> tuple[Coupon, State] | None:
    """Return the coupon of a code and its state; None where there is none.

    Codes are looked up as they are written, else in capitals: people type them.
    """
    query = _coupons().add_columns(coupons.c.state).where(coupons.c.code.in_({code, code.upper()}))
    query = query.order_by(case((coupons.c.code == code, 0), else_=1)).limit(1)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else (coupon_of(row[:-1]), State(row[-1]))


def coupons_of_ids(connection: Connection, ids: Sequence[str]) -> list[Coupon]:
    """Return coupons by their ids."""
    return [coupon_of(row) for row in connection.execute(_coupons().where(coupons.c.id.in_(ids)))]


def lock_coupons(connection: Connection, ids: Sequence[str]) -> dict[str, Coupon]:
    """Return and lock those of these coupons that nobody else has locked, by their ids."""
    query = _coupons().where(coupons.c.id.in_(ids)).order_by(coupons.c.id)
    rows = connection.execute(query.with_for_update(skip_locked=True))
    return {one.id: one for one in map(coupon_of, rows)}


def keep_open(connection: Connection, coupon_id: str, until: datetime) -> None:
    """Let an open coupon expire no earlier than a moment."""
    earlier = (coupons.c.id == coupon_id) & (coupons.c.closes_at < until)
    connection.execute(update(coupons).where(earlier).values(closes_at=until))


def reopen(connection: Connection, coupon_id: str) -> None:
    """Make a used coupon one that was issued and not used."""
    connection.execute(
        update(coupons)
        .where(coupons.c.id == coupon_id)
        .values(state=State.ISSUED.value, closes_at=coupons.c.expires_at, reopened=coupons.c.reopened + 1)
    )


def coupon_of_run(connection: Connection, enrolment_id: str) -> Coupon | None:
    """Return the coupon that was issued last to an enrolment, whatever became of it."""
    query = _coupons().where(coupons.c.enrolment_id == enrolment_id)
    row = connection.execute(query.order_by(coupons.c.issued_at.desc(), coupons.c.id.desc()).limit(1)).first()
    return None if row is None else coupon_of(row)


def coupons_of_user(connection: Connection, user_id: str) -> list[tuple[Coupon, str]]:
    """Return a user's coupons with their states, oldest first."""
    query = (
        _coupons()
        .add_columns(coupons.c.state)
        .where(coupons.c.user_id == user_id)
        .order_by(coupons.c.issued_at, coupons.c.id)
    )
    return [(coupon_of(row[:-1]), row[-1]) for row in connection.execute(query)]


def _coupons() -> Select[Any]:
    return select(*(coupons.c[name] for name in Coupon.__struct_fields__))


def coupon_of(row: Sequence[Any]) -> Coupon:
    """Return the coupon of a row of the wallet whose columns are those of `Coupon`, in their order."""
    values = list(row)
    values[_TERMS] = Terms() if values[_TERMS] is None else _terms(values[_TERMS])
    return Coupon(*values)


def encoded(terms: Terms) -> str:
    """Return terms as the wallet keeps them."""
    return msgspec.json.encode(terms).decode()


@lru_cache(maxsize=4_096)
def _terms(body: str) -> Terms:
    return msgspec.json.decode(body, type=Terms)


_ADD_COUPON = Statement(insert(coupons).values({one.name: bindparam(one.name) for one in coupons.c}))
_EXPIRES = Statement(
    select(coupons.c.id)
    .where(coupons.c.closes_at <= bindparam("now"))
    .order_by(coupons.c.closes_at, coupons.c.id)
    .limit(1)
)
_CLOSE_COUPON = Statement(
    update(coupons)
    .where(coupons.c.id == bindparam("this"))
    .values(state=bindparam("to_state"), closes_at=null())
)
