"""What must hold of the uses of codes that many may use: none is lost, none doubled, none over the limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from sqlalchemy import Connection, select

from delivery.coupons.events import REDEEMED, ROLLED_BACK
from delivery.coupons.models import Standing
from delivery.coupons.tables import coupon_uses, coupons
from storage.ledger import Kind
from storage.schema import facts
from tests.faults.journal import Journal
from tests.faults.shopping import FULL, OVER

# A kind of finding, and what is wrong.
Broken = tuple[Literal["lost", "doubled", "wrong"], str]

# Events that the checkout records by itself.
EVENTS = (REDEEMED, ROLLED_BACK)
# What an order may have become that was told so: what is only reserved runs out by itself.
_AFTER = {
    "reserved": {Standing.RESERVED, Standing.RELEASED, Standing.REDEEMED},
    "redeemed": {Standing.REDEEMED},
    "released": {Standing.RELEASED},
    "rolled_back": {Standing.ROLLED_BACK},
}


def broken(connection: Connection, journal: Journal) -> Iterator[Broken]:
    """Return every broken promise about uses, as its kind and what is wrong."""
    columns = (coupons.c.code, coupons.c.uses, coupon_uses)
    query = select(*columns).join(coupons, coupons.c.id == coupon_uses.c.coupon_id)
    rows = {(row.code, row.order_id): row for row in connection.execute(query)}
    # By the last answer: an order asks for more only when it was answered, and by now all is.
    for order, standing in journal.uses.items():
        row = rows.get(order)
        if standing in (FULL, OVER):
            continue
        if row is None:
            yield "lost", f"use of {order}, which was answered {standing}"
        elif Standing(row.standing) not in _AFTER[standing]:
            yield "wrong", f"use of {order} is {row.standing}, was answered {standing}"
    yield from _limits(rows, journal)
    yield from _told(connection, rows)


def _limits(rows: dict[tuple[str, str], Any], journal: Journal) -> Iterator[Broken]:
    limits = {code: row.uses for (code, _), row in rows.items()}
    redeemed = Counter(code for (code, _), row in rows.items() if row.standing == Standing.REDEEMED)
    ever = Counter(code for code, _ in rows)
    for code, number in redeemed.items():
        if number > limits[code]:
            yield "doubled", f"{number} orders redeemed {code}, which {limits[code]} may"
    for (code, order), standing in journal.uses.items():
        if standing == FULL and ever[code] < limits.get(code, 1):
            yield "lost", f"order {order} was refused {code}, of which {ever[code]} uses were ever taken"


def _told(connection: Connection, rows: dict[tuple[str, str], Any]) -> Iterator[Broken]:
    """Each redemption and each roll-back has left one fact and one event."""
    query = select(facts.c.id, facts.c.label).where(facts.c.kind == Kind.COUPON)
    kept = Counter(
        (row.id.rpartition(":")[0], row.label)
        for row in connection.execute(query.where(facts.c.label.in_([one.value for one in Standing])))
    )
    events = select(facts.c.id).where(facts.c.kind == Kind.EVENT, facts.c.label.in_(EVENTS))
    recorded = Counter(row.id.rpartition(":")[0] for row in connection.execute(events))
    for order, row in rows.items():
        ended = Standing(row.standing)
        names = {Standing.REDEEMED: [REDEEMED], Standing.ROLLED_BACK: EVENTS}.get(ended, [])
        for name in names:
            standing = Standing.REDEEMED if name == REDEEMED else Standing.ROLLED_BACK
            for what, number in (
                ("fact", kept[row.id, standing.value]),
                ("event", recorded[f"{name}:{row.id}"]),
            ):
                if number != 1:
                    yield ("doubled" if number else "lost"), f"{what} {name} of {order}, {number} times"
