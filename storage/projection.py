"""Kept counters: facts by kind, label and UTC day, which the ledger's counts are served from.

A projection follows the ledger with a cursor of its own. Each step counts what is new outside the writer,
then adds it and moves the cursor in one transaction, so every fact is counted exactly once whatever is
interrupted; `ledger.counts` adds what no step has reached yet. `recount` counts the facts again and says
where the counters are wrong, which they never should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, func, literal, select, union_all
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from storage import readers
from storage.engine import Database
from storage.ledger import COUNTS_READER, Kind
from storage.order import settled
from storage.schema import fact_counts, facts
from storage.times import EPOCH

DAY_MICROS = 86_400_000_000
# Facts counted in a step, in the reader's time; of kinds, labels and days they have few, so few rows are
# written. More than one turn of the writer may write are left for later steps.
STEP_FACTS = 20_000
STEP_ROWS = 400


class Difference(NamedTuple):
    """Where the counters are wrong: `kept` facts of a day by the counters, `recounted` by the facts."""

    kind: Kind
    label: str
    day: date
    kept: int
    recounted: int


class Added(NamedTuple):
    """A change of a counter; `day` in days since 1970."""

    kind: str
    label: str
    day: int
    number: int
    purged: int = 0


def day_of() -> ColumnElement[int]:
    """Return the expression of a fact's UTC day: whole days since 1970, rounded down also before it."""
    day = literal(DAY_MICROS, BigInteger())
    since_midnight = (facts.c.occurred_at % day + day) % day
    # An exact division; `//` is division of integers on every database.
    return ((facts.c.occurred_at - since_midnight) // day).label("day")


def date_of(day: int) -> date:
    """Return the date that lies `day` days after 1970-01-01."""
    return (EPOCH + timedelta(days=day)).date()


def step(database: Database, *, limit: int = STEP_FACTS) -> int:
    """Take the next facts into the counters; returns how many, 0 when none are left or another was faster."""
    with database.read() as connection:
        before = readers.position_of(connection, COUNTS_READER)
        taken, last, added = _next(connection, before, limit)
    if not taken:
        return 0

    def keep(connection: Connection) -> int:
        if not readers.advance_from(connection, COUNTS_READER, before, last):
            return 0
        add(connection, added)
        return taken

    return database.write(keep, rows=len(added) + 1)


def catch_up(database: Database) -> int:
    """Take all facts into the counters that can be; returns how many were new."""
    total = 0
    while taken := step(database):
        total += taken
    return total


def add(connection: Connection, changes: Sequence[Added]) -> None:
    """Add to the counters, in the transaction that moves the cursor or takes the facts away."""
    if not changes:
        return
    dialect_insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = dialect_insert(fact_counts)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["kind", "label", "day"],
        set_={
            "number": fact_counts.c.number + new.number,
            "purged": fact_counts.c.purged + new.purged,
        },
    )
    # In one order, so that two transactions never wait for each other's rows.
    connection.execute(statement, [change._asdict() for change in sorted(changes)])


def recount(connection: Connection) -> list[Difference]:
    """Count all facts again and return where the counters are wrong, by kind, label and day.

    Facts that retention took away can't be counted again: they count as the counters have them.
    One statement, so that facts and counters are those of the same moment.
    """
    key = "kind", "label", "day"
    position = func.coalesce(readers.position(COUNTS_READER), 0)
    counted = (
        select(
            facts.c.kind, facts.c.label, day_of(), literal(0).label("kept"), func.count().label("recounted")
        )
        .where(facts.c.seq <= position)
        .group_by(*key)
    )
    counters = select(*(fact_counts.c[name] for name in key), fact_counts.c.number, fact_counts.c.purged)
    both = union_all(counted, counters).subquery()
    columns = both.c.kind, both.c.label, both.c.day
    kept, recounted = func.sum(both.c.kept), func.sum(both.c.recounted)
    query = select(*columns, kept, recounted).group_by(*columns).having(kept != recounted)
    return [
        Difference(Kind(kind), label, date_of(day), int(kept), int(recounted))
        for kind, label, day, kept, recounted in connection.execute(query.order_by(*columns))
    ]


def _next(connection: Connection, before: int, limit: int) -> tuple[int, int, list[Added]]:
    """Return how many facts come next, the number of the last, and what they add to the counters.

    One statement, so that what is counted is what was there when the last one was found.
    """
    page = (
        select(facts.c.seq, facts.c.kind, facts.c.label, day_of())
        .where(facts.c.seq > before, settled(connection))
        .order_by(facts.c.seq)
        .limit(limit)
        .subquery()
    )
    columns = page.c.kind, page.c.label, page.c.day
    query = select(*columns, func.count(), func.max(page.c.seq)).group_by(*columns)
    rows: Sequence[Any] = connection.execute(query).all()
    if len(rows) > STEP_ROWS:
        return _next(connection, before, STEP_ROWS)
    added = [Added(kind, label, day, number) for kind, label, day, number, _ in rows]
    return sum(one.number for one in added), max((row[-1] for row in rows), default=before), added
