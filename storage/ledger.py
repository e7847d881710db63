"""The ledger: append-only facts that every number is derived from.

A fact has a kind (what sort of thing happened), a label (which one of that sort: the event's name, the
message's state), a user, the time it happened and the time it was recorded, and a JSON body whose type
belongs to the room that makes it. Facts are never changed; erasure alone replaces a body by a tombstone, and
retention takes away what is older than its kind is kept (`storage.retention`). Readers follow the ledger
(`storage.readers`) by numbers whose order `storage.order` explains.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    func,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert

from storage import ledger_queries, readers
from storage.bulk import Inserts, Values
from storage.ledger_queries import page, with_ids
from storage.order import number, numbers_itself, places
from storage.schema import fact_counts, facts
from storage.standing_aside import stand_aside
from storage.statements import defer
from storage.times import from_micros, to_micros

# Rows read at a time by those who walk through the ledger: a few MB at most.
PAGE_ROWS = 2_000
# The cursor of the kept counters (`storage.projection`).
COUNTS_READER = "ledger.counts"


# Whoever asks for facts in a way of its own begins with these.
columns = ledger_queries.columns


class Kind(StrEnum):
    """What sort of thing happened.

    A past event was imported: features and counters know it, nothing is started by it. Machine and
    quarantined events are kept apart; nothing is derived from them.
    """

    EVENT = "event"
    PAST_EVENT = "past_event"
    MACHINE_EVENT = "machine_event"
    QUARANTINED = "quarantined"
    IDENTITY = "identity"
    CONSENT = "consent"
    ALERT = "alert"
    SCORE = "score"
    STAGE = "stage"
    TRIGGER = "trigger"
    AUDIENCE = "audience"
    TAG = "tag"
    DECISION = "decision"
    SUPPRESSION = "suppression"
    ENROLMENT = "enrolment"
    COUPON = "coupon"
    MESSAGE = "message"
    TASK = "task"
    REWARD = "reward"
    RECALL = "recall"
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
    """A recorded fact; `seq` grows in the order in which readers see facts, with gaps, and never repeats."""

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


_COLUMNS = ("kind", "id", "label", "user_id", "occurred_at", "recorded_at", "body")
_PLACED = ("base", "place")
_INSERT = Inserts(facts, _COLUMNS)
_INSERT_NUMBERED = Inserts(
    facts,
    _COLUMNS,
    given=dict.fromkeys(_PLACED, "bigint"),
    computed={"seq": number(*(literal_column(f"r.{one}", BigInteger()) for one in _PLACED))},
)

_encode = msgspec.json.Encoder().encode


def append(connection: Connection, new: Sequence[NewFact], now: datetime) -> None:
    """Record facts whose ids are fresh, at the end of the writer's turn (see `storage.statements.defer`).

    An id of that kind that is taken fails the transaction with `sqlalchemy.exc.IntegrityError`.
    """
    rows = _rows(new, now)
    if numbers_itself(connection):
        defer(connection, _INSERT, rows)
    elif rows:
        defer(connection, _INSERT_NUMBERED, _numbered(connection, rows))


def append_unless_known(connection: Connection, new: Sequence[NewFact], now: datetime) -> set[str]:
    """Record facts whose ids came from outside, leaving out those already recorded.

    Returns the ids that were recorded now. Within `new` the first of equal ids counts.
    """
    if not new:
        return set()
    if numbers_itself(connection):
        return _append_alone(connection, new, now)
    values: dict[str, Any] = {name: bindparam(name) for name in _COLUMNS}
    placed = (bindparam(name, type_=BigInteger()) for name in _PLACED)
    statement: Any = postgres_insert(facts).values({"seq": number(*placed), **values})
    statement = statement.on_conflict_do_nothing(index_elements=["kind", "id"]).returning(facts.c.id)
    rows = [
        dict(zip((*_COLUMNS, *_PLACED), row, strict=True)) for row in _numbered(connection, _rows(new, now))
    ]
    return set(connection.execute(statement, rows).scalars())


def _append_alone(connection: Connection, new: Sequence[NewFact], now: datetime) -> set[str]:
    """Record what is not known where nobody else writes meanwhile.

    Looking first is several times as fast as an insert that gives back what it inserted.
    """
    kinds = {fact.kind for fact in new}
    taken = {(row[1], row[2]) for row in with_ids(connection, kinds, [fact.id for fact in new])}
    fresh: dict[tuple[str, str], NewFact] = {}
    for fact in new:
        key = (fact.kind.value, fact.id)
        if key not in taken:
            fresh.setdefault(key, fact)
    _INSERT.run_many(connection, _rows(list(fresh.values()), now))
    return {fact_id for _, fact_id in fresh}


def get(connection: Connection, kind: Kind, fact_id: str) -> Fact | None:
    """Return one fact by its id, or None."""
    row = connection.execute(columns().where(facts.c.kind == kind, facts.c.id == fact_id)).first()
    return None if row is None else fact_of(row)


def known(connection: Connection, kinds: Collection[Kind], ids: Sequence[str]) -> dict[str, Fact]:
    """Return those facts of some kinds that have one of these ids, by id.

    Of several under one id it is the fact whose kind is named first.
    """
    ranks = {kind: rank for rank, kind in enumerate(kinds)}
    found: dict[str, Fact] = {}
    for fact in map(fact_of, with_ids(connection, kinds, ids)):
        other = found.get(fact.id)
        if other is None or ranks[fact.kind] < ranks[other.kind]:
            found[fact.id] = fact
    return found


def of_user(
    connection: Connection, user_id: str, *, kinds: Collection[Kind] = (), limit: int = 200
) -> list[Fact]:
    """Return the latest facts of a user, newest first: of all kinds, or of these."""
    return of_users(connection, [user_id], kinds=kinds, limit=limit)


def of_users(
    connection: Connection, user_ids: Collection[str], *, kinds: Collection[Kind] = (), limit: int = 200
) -> list[Fact]:
    """Return the latest facts of some users together, newest first: of all kinds, or of these."""
    query = columns().where(facts.c.user_id.in_(user_ids))
    query = query.order_by(facts.c.occurred_at.desc(), facts.c.seq.desc())
    if kinds:
        query = query.where(facts.c.kind.in_([kind.value for kind in kinds]))
    return [fact_of(row) for row in connection.execute(query.limit(limit))]


def latest(connection: Connection, kind: Kind, limit: int) -> list[Fact]:
    """Return the facts of a kind that were recorded last, newest first."""
    query = columns().where(facts.c.kind == kind.value).order_by(facts.c.seq.desc()).limit(limit)
    return [fact_of(row) for row in connection.execute(query)]


def latest_events(
    connection: Connection, user_ids: Collection[str], names: Sequence[str]
) -> dict[str, datetime]:
    """Return when the latest of each of these events of some users happened, by name; those that did."""
    found: dict[str, datetime] = {}
    for of in latest_events_of_each(connection, user_ids, names).values():
        for name, moment in of.items():
            found[name] = max(moment, found.get(name, moment))
    return found


def latest_events_of_each(
    connection: Connection, user_ids: Collection[str], names: Sequence[str]
) -> dict[str, dict[str, datetime]]:
    """Return for each of some users what `latest_events` returns for them alone; those who had any."""
    query = (
        select(facts.c.user_id, facts.c.label, func.max(facts.c.occurred_at))
        .where(
            facts.c.user_id.in_(user_ids),
            facts.c.kind.in_([Kind.EVENT.value, Kind.PAST_EVENT.value]),
            facts.c.label.in_(names),
        )
        .group_by(facts.c.user_id, facts.c.label)
    )
    found: dict[str, dict[str, datetime]] = {}
    for user_id, label, moment in connection.execute(query):
        found.setdefault(user_id, {})[label] = from_micros(moment)
    return found


def read_after(
    connection: Connection,
    position: int,
    *,
    kind: Kind | Collection[Kind],
    labels: Sequence[str] = (),
    limit: int = PAGE_ROWS,
) -> list[Fact]:
    """Return the next facts of one or several kinds after a cursor's position, in the order of their numbers.

    Facts that something could still appear below are left for later: on Postgres, those of transactions
    that began after one that still runs. A transaction does not see its own facts here.
    """
    kinds = [kind.value] if isinstance(kind, Kind) else [one.value for one in kind]
    return [fact_of(row) for row in page(connection, position, kinds, labels, limit)]


def happened_between(
    connection: Connection, kind: Kind, label: str, start: datetime, end: datetime
) -> Iterator[Fact]:
    """Yield the facts of a kind and label with start <= occurred_at < end, in the order they happened."""
    query = (
        columns()
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
        yield fact_of(row)


def counts_of(connection: Connection, user_ids: Collection[str]) -> dict[Kind, dict[str, int]]:
    """Count the facts of some users that are there by kind and label."""
    query = (
        select(facts.c.kind, facts.c.label, func.count())
        .where(facts.c.user_id.in_(user_ids))
        .group_by(facts.c.kind, facts.c.label)
    )
    result: dict[Kind, dict[str, int]] = {}
    for kind, label, found in connection.execute(query):
        result.setdefault(Kind(kind), {})[label] = found
    return result


def counts(connection: Connection) -> dict[Kind, dict[str, int]]:
    """Count all facts ever recorded by kind and label, also those that retention has taken away.

    What the counters have not taken in yet is counted on the spot; one statement, so that both parts see
    the same state.
    """
    both = union_all(
        select(fact_counts.c.kind, fact_counts.c.label, fact_counts.c.number),
        select(facts.c.kind, facts.c.label, func.count())
        .where(facts.c.seq > func.coalesce(readers.position(COUNTS_READER), 0))
        .group_by(facts.c.kind, facts.c.label),
    ).subquery()
    query = select(both.c.kind, both.c.label, func.sum(both.c.number)).group_by(both.c.kind, both.c.label)
    result: dict[Kind, dict[str, int]] = {}
    for kind, label, total in connection.execute(query):
        result.setdefault(Kind(kind), {})[label] = int(total)
    return result


def head(connection: Connection) -> int:
    """Return the number of the last fact that can be seen, 0 when there is none."""
    return connection.execute(select(func.max(facts.c.seq))).scalar() or 0


def fact_of(row: Sequence[Any]) -> Fact:
    """Return a row of `columns` as a fact."""
    # Whoever goes through thousands of them can wait (see there).
    stand_aside()
    seq, kind, fact_id, label, user_id, occurred_at, recorded_at, body = row
    return Fact(
        seq, Kind(kind), fact_id, label, user_id, from_micros(occurred_at), from_micros(recorded_at), body
    )


def _rows(new: Sequence[NewFact], now: datetime) -> list[Values]:
    recorded_at = to_micros(now)
    return [
        (
            _KINDS[fact.kind],
            fact.id,
            fact.label,
            fact.user_id,
            recorded_at if fact.occurred_at is now else to_micros(fact.occurred_at),
            recorded_at,
            _encode(fact.body).decode(),
        )
        for fact in new
    ]


# An enum's `value` is a function's call away.
_KINDS = {kind: kind.value for kind in Kind}


def _numbered(connection: Connection, rows: list[Values]) -> list[Values]:
    base, numbers = places(connection, len(rows))
    return [(*row, base, place) for row, place in zip(rows, numbers, strict=True)]
