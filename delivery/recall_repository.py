"""SQL of recalls. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, delete, select

from delivery.coupons.models import Coupon
from delivery.coupons.repository import coupon_of
from delivery.coupons.tables import coupons
from delivery.models import Enrolment, MessageFact, MessageState
from delivery.outbox_repository import Queued, queued_columns
from delivery.repository import enrolments_of
from delivery.tables import enrolments, outbox, parked
from storage import ledger
from storage.ledger import Kind

# Keys in one question to the database.
PIECE = 200
# What went out, or may have: the process died while it was handed over.
_OUT = (MessageState.SENT, MessageState.UNKNOWN)


class Went(msgspec.Struct, frozen=True):
    """A message that went out: to whom, when, and of which run."""

    key: str
    user_id: str
    at: datetime
    enrolment_id: str


def went_out(
    connection: Connection, playbook: str, version: int, since: datetime, until: datetime
) -> Iterator[Went]:
    """Yield the messages of a playbook version that went out with since <= moment < until."""
    decode = msgspec.json.Decoder(MessageFact).decode
    found = [
        Went(fact.id.rpartition(":")[0], fact.user_id or "", fact.occurred_at, body.enrolment)
        for state in _OUT
        for fact in ledger.happened_between(connection, Kind.MESSAGE, state.value, since, until)
        if (body := decode(fact.body)).playbook == playbook
    ]
    for start in range(0, len(found), PIECE):
        some = found[start : start + PIECE]
        runs = enrolments_of(connection, [one.enrolment_id for one in some])
        for one in some:
            run = runs.get(one.enrolment_id)
            if run is not None and run.playbook_version == version:
                yield one


def queued_of(connection: Connection, playbook: str, version: int) -> list[Queued]:
    """Return the messages of a playbook version that have not gone out: waiting ones, and those in hand."""
    query = (
        select(*queued_columns())
        .join(enrolments, enrolments.c.id == outbox.c.enrolment_id)
        .where(enrolments.c.playbook == playbook, enrolments.c.playbook_version == version)
        .where(outbox.c.state == MessageState.QUEUED.value)
        .order_by(outbox.c.key)
    )
    return [Queued(*row) for row in connection.execute(query)]


def claim_waiting(connection: Connection, keys: Sequence[str]) -> list[Queued]:
    """Return and lock those of these messages that wait and that nobody hands over now."""
    query = select(*queued_columns()).where(outbox.c.key.in_(keys), outbox.c.holder.is_(None))
    query = query.where(outbox.c.state == MessageState.QUEUED.value).order_by(outbox.c.key).with_for_update()
    return [Queued(*row) for row in connection.execute(query)]


def claim_runs(connection: Connection, ids: Sequence[str]) -> list[Enrolment]:
    """Return and lock runs by their ids."""
    connection.execute(
        select(enrolments.c.id).where(enrolments.c.id.in_(ids)).order_by(enrolments.c.id).with_for_update()
    ).all()
    return list(enrolments_of(connection, ids).values())


def coupons_of(
    connection: Connection, enrolment_ids: Sequence[str], *, lock: bool = False
) -> list[tuple[Coupon, str]]:
    """Return the coupons that runs issued, each with its state."""
    columns = [coupons.c[name] for name in Coupon.__struct_fields__]
    query = select(*columns, coupons.c.state).where(coupons.c.enrolment_id.in_(enrolment_ids))
    query = query.order_by(coupons.c.id)
    rows = connection.execute(query.with_for_update() if lock else query)
    return [(coupon_of(row[:-1]), row[-1]) for row in rows]


def forget_parked(connection: Connection, ids: Sequence[str]) -> None:
    """Say that messages and runs wait for no control any more."""
    connection.execute(delete(parked).where(parked.c.id.in_(ids)))
