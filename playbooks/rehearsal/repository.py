"""SQL of rehearsals: everybody, and the uses of all users, as columns. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)

from audiences.selection.tables import numbers
from audiences.tables import users
from playbooks.tables import uses
from storage.ledger import Kind
from storage.schema import facts
from storage.times import from_micros, to_micros

# Rows that are taken from the database at a time.
_ROWS = 50_000
_IN = 500
_HOUR = 3_600_000_000  # microseconds


def everybody(connection: Connection) -> NDArray[np.int64]:
    """Return the numbers of all users, ascending."""
    query = select(numbers.c.number).join(users, users.c.user_id == numbers.c.user_id)
    result = connection.execute(query.order_by(numbers.c.number).execution_options(yield_per=_ROWS))
    return np.fromiter(result.scalars(), np.int64)


class UseColumns(NamedTuple):
    """Uses as columns: whose (numbers of users, or places of subjects), counters as places in `names`.

    Moments are microseconds since 1970.
    """

    whose: NDArray[np.int64]
    counters: NDArray[np.int64]
    moments: NDArray[np.int64]
    names: Sequence[str]


def uses_since(
    connection: Connection, counters: Collection[str], since: datetime, now: datetime
) -> UseColumns:
    """Return users' uses that count under some counters after `since`, reserved ones until they expire.

    Those of users without a number are left out: nobody knows yet which audiences they are in.
    """
    query = select(numbers.c.number, uses.c.rule, type_coerce(uses.c.used_at, BigInteger)).join(
        numbers, numbers.c.user_id == uses.c.user_id
    )
    return _columns(connection, [query.where(*_counting(counters, since, now))], int)


def uses_of_subjects(
    connection: Connection,
    subjects: Mapping[str, int],
    counters: Collection[str],
    since: datetime,
    now: datetime,
) -> UseColumns:
    """Return the same of some subjects, each with its place."""
    query = select(uses.c.user_id, uses.c.rule, type_coerce(uses.c.used_at, BigInteger))
    listed = sorted(subjects)
    queries = [
        query.where(uses.c.user_id.in_(listed[at : at + _IN]), *_counting(counters, since, now))
        for at in range(0, len(listed), _IN)
    ]
    return _columns(connection, queries, subjects.__getitem__)


def latest_events(connection: Connection, names: Collection[str]) -> Iterator[tuple[str, str, datetime]]:
    """Yield of each user who did any of these events its name and when the latest of it happened."""
    query = (
        select(facts.c.user_id, facts.c.label, func.max(facts.c.occurred_at))
        .where(
            facts.c.kind.in_([Kind.EVENT.value, Kind.PAST_EVENT.value]),
            facts.c.label.in_(sorted(names)),
            facts.c.user_id.is_not(None),
        )
        .group_by(facts.c.user_id, facts.c.label)
        .execution_options(yield_per=_ROWS)
    )
    for user_id, name, moment in connection.execute(query):
        yield user_id, name, from_micros(moment)


def by_hour(
    connection: Connection, kind: Kind, label: str, since: datetime, until: datetime
) -> dict[int, int]:
    """Return how many facts of a kind and label happened in each hour, by hours since 1970."""
    query = (
        select((facts.c.occurred_at // _HOUR).label("hour"), func.count())
        .where(
            facts.c.kind == kind.value,
            facts.c.label == label,
            facts.c.occurred_at >= to_micros(since),
            facts.c.occurred_at < to_micros(until),
        )
        .group_by(literal_column("1"))
    )
    return {int(hour): count for hour, count in connection.execute(query)}


def _counting(counters: Collection[str], since: datetime, now: datetime) -> list[ColumnElement[bool]]:
    return [
        uses.c.used_at > since,
        or_(uses.c.expires_at.is_(None), uses.c.expires_at > now),
        uses.c.rule.in_(sorted(counters)),
    ]


def _columns(
    connection: Connection, queries: Sequence[Select[Any]], place: Callable[[Any], int]
) -> UseColumns:
    codes: dict[str, int] = {}
    parts = [
        np.array([(place(row[0]), codes.setdefault(row[1], len(codes)), row[2]) for row in rows], np.int64)
        for query in queries
        for rows in connection.execute(query.execution_options(yield_per=_ROWS)).partitions()
    ]
    columns = np.concatenate([np.empty((0, 3), np.int64), *parts]).T
    return UseColumns(columns[0], columns[1], columns[2], list(codes))
