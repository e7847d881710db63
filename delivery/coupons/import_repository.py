"""SQL of coupons that were issued elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from delivery.coupons.models import Coupon
from delivery.coupons.repository import coupon_of, encoded
from delivery.coupons.tables import coupons


def add(connection: Connection, new: Sequence[tuple[Coupon, str]]) -> set[str]:
    """Record coupons, each with its state, whose codes are not known; return the codes that were recorded."""
    if not new:
        return set()
    rows = [
        {
            **msgspec.structs.asdict(one),
            "terms": encoded(one.terms),
            "state": state,
            "closes_at": one.expires_at if state == "issued" else None,
        }
        for one, state in sorted(new, key=lambda pair: pair[0].code)
    ]
    upsert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = upsert(coupons).on_conflict_do_nothing(index_elements=["code"]).returning(coupons.c.code)
    return set(connection.execute(statement, rows).scalars())


def of_codes(connection: Connection, codes: Sequence[str]) -> dict[str, Coupon]:
    """Return those coupons that have one of these codes, by code."""
    query = select(*(coupons.c[name] for name in Coupon.__struct_fields__)).where(coupons.c.code.in_(codes))
    return {one.code: one for one in (coupon_of(row) for row in connection.execute(query))}
