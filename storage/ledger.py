"""The ledger: append-only facts that every number is derived from.

A fact has a kind (what sort of thing happened), a label (which one of that sort: the event's name, the
message's state), a user, the time it happened and the time it was recorded, and a JSON body whose type
belongs to the room that makes it. Facts are never changed; erasure alone replaces a body by a tombstone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, func, insert, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from storage.schema import cursors, facts
from storage.statements import Statement, defer
from storage.times import from_micros, to_micros

# Rows read at a time by those who walk through the ledger: a few MB at most.
PAGE_ROWS = 2_000


class Kind(StrEnum):
    """What sort of thing happened."""

    EVENT = "event"
    AUDIENCE = "audience"
    TAG = "tag"
    DECISION = "decision"
    SUPPRESSION = "suppression"
    ENROLMENT = "enrolment"
    COUPON = "coupon"
    MESSAGE = "message"
    REWARD = "reward"
    CHANGE = "change"


class NewFact(msgspec.Struct, frozen=True):
    """A fact about to be recorded. `id` is unique within its kind; `body` is any msgspec-encodable value."""

    kind: Kind
    id: str
    label: str
    user_id: str | None
    occurred_at: datetime
    body: Any


class Fact(msgspec.Struct, frozen=True):
    """A recorded fact; `seq` grows with every fact and never repeats."""

    seq: int
    kind: Kind
    id: str
    label: str
    user_id: str | None
    occurred_at: datetime
    recorded_at: datetime
    body: str

    def decode(self, type_: type[Any]) -> Any:
        """Return the body as `type_`."""
        return msgspec.json.decode(self.body, type=type_)


_INSERT = Statement(
    insert(facts).values(
        {
            name: bindparam(name)
            for name in ("kind", "id", "label", "user_id", "occurred_at", "recorded_at", "body")
        }
    )
)

_encode = msgspec.json.Encoder().encode


def append(connection: Connection, new: Sequence[NewFact], now: datetime) -> None:
    """Record facts whose ids are fresh, at the end of the writer's turn (see `storage.statements.defer`).

    An id of that kind that is taken fails the transaction with `sqlalchemy.exc.IntegrityError`.
    """
    defer(connection, _INSERT, _rows(new, now))


def append_unless_known(connection: Connection, new: Sequence[NewFact], now: datetime) -> set[str]:
    """Record facts whose ids came from outside, leaving out those already recorded.

    Returns the ids that were recorded now. Within `new` the first of equal ids counts.
    """
    if not new:
        return set()
    dialect_insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = (
        dialect_insert(facts).on_conflict_do_nothing(index_elements=["kind", "id"]).returning(facts.c.id)
    )
    return set(connection.execute(statement, _rows(new, now)).scalars())


def get(connection: Connection, kind: Kind, fact_id: str) -> Fact | None:
    """Return one fact by its id, or None."""
    row = connection.execute(_columns().where(facts.c.kind == kind, facts.c.id == fact_id)).first()
    return None if row is None else _fact(row)


def of_user(connection: Connection, user_id: str, *, limit: int = 200) -> list[Fact]:
    """Return the latest facts of a user, newest first."""
    query = (
        _columns().where(facts.c.user_id == user_id).order_by(facts.c.occurred_at.desc(), facts.c.seq.desc())
    )
    return [_fact(row) for row in connection.execute(query.limit(limit))]


def read_after(
    connection: Connection, position: int, *, kind: Kind, labels: Sequence[str] = (), limit: int = PAGE_ROWS
) -> list[Fact]:
    """Return the next facts of a kind after a cursor's position, in the order they were recorded."""
    query = _columns().where(facts.c.seq > position, facts.c.kind == kind)
    if labels:
        query = query.where(facts.c.label.in_(labels))
    return [_fact(row) for row in connection.execute(query.order_by(facts.c.seq).limit(limit))]


def happened_between(
    connection: Connection, kind: Kind, label: str, start: datetime, end: datetime
) -> Iterator[Fact]:
    """Yield the facts of a kind and label with start <= occurred_at < end, in the order they happened."""
    query = (
        _columns()
        .where(
            facts.c.kind == kind,
            facts.c.label == label,
            facts.c.occurred_at >= to_micros(start),
            facts.c.occurred_at < to_micros(end),
        )
        .order_by(facts.c.occurred_at, facts.c.seq)
        .execution_options(yield_per=PAGE_ROWS)
    )
    for row in connection.execute(query):
        yield _fact(row)


def counts(connection: Connection) -> dict[Kind, dict[str, int]]:
    """Count all facts by kind and label."""
    query = select(facts.c.kind, facts.c.label, func.count()).group_by(facts.c.kind, facts.c.label)
    result: dict[Kind, dict[str, int]] = {}
    for kind, label, number in connection.execute(query):
        result.setdefault(Kind(kind), {})[label] = number
    return result


def position_of(connection: Connection, reader: str) -> int:
    """Return how far a named reader has come: the `seq` of the last fact it took, 0 at the start."""
    return connection.execute(select(cursors.c.position).where(cursors.c.reader == reader)).scalar() or 0


def advance(connection: Connection, reader: str, position: int) -> None:
    """Record how far a named reader has come, in the transaction that keeps what it made of the facts."""
    dialect_insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = dialect_insert(cursors).values(reader=reader, position=position)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["reader"], set_={"position": statement.excluded.position}
        )
    )


def _columns() -> Select[Any]:
    return select(
        facts.c.seq,
        facts.c.kind,
        facts.c.id,
        facts.c.label,
        facts.c.user_id,
        facts.c.occurred_at,
        facts.c.recorded_at,
        facts.c.body,
    )


def _fact(row: Sequence[Any]) -> Fact:
    seq, kind, fact_id, label, user_id, occurred_at, recorded_at, body = row
    return Fact(
        seq, Kind(kind), fact_id, label, user_id, from_micros(occurred_at), from_micros(recorded_at), body
    )


def _rows(new: Sequence[NewFact], now: datetime) -> list[dict[str, Any]]:
    recorded_at = to_micros(now)
    return [
        {
            "kind": fact.kind.value,
            "id": fact.id,
            "label": fact.label,
            "user_id": fact.user_id,
            "occurred_at": to_micros(fact.occurred_at),
            "recorded_at": recorded_at,
            "body": _encode(fact.body).decode(),
        }
        for fact in new
    ]
