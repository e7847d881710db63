"""The kept counters equal the facts, whatever is interrupted; what is wrong with them is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, update

from storage import ledger, projection
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.erasure import erase
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.projection import Difference
from storage.retention import purge
from storage.schema import cursors, fact_counts, facts
from storage.tombstones import FACTS

LABELS = ((Kind.EVENT, "seen"), (Kind.EVENT, "order"), (Kind.MESSAGE, "sent"))


class Crash(Exception):
    """The process dies at this point."""


class CrashingDatabase:
    """A database whose next write dies before its commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> Any:
        return self._database.read()

    def write(self, work: Callable[[Connection], Any], *, rows: int = 1) -> Any:
        def die(connection: Connection) -> None:
            work(connection)
            raise Crash

        return self._database.write(die, rows=rows)


def record(clock: SimulatedClock, days: list[int], which: int, user: str = "ann") -> list[NewFact]:
    kind, label = LABELS[which]
    return [
        NewFact(kind, new_id(clock.now()), label, user, clock.now() - timedelta(days=day), {}) for day in days
    ]


def total(database: Database) -> Counter[tuple[str, str]]:
    with database.read() as connection:
        assert projection.recount(connection) == []
        return Counter(
            {
                (kind.value, label): number
                for kind, labels in ledger.counts(connection).items()
                for label, number in labels.items()
            }
        )


@contextmanager
def emptied(database: Database) -> Iterator[Database]:
    for table in (facts, fact_counts, cursors):
        database.write(lambda connection, table=table: connection.execute(delete(table)))  # type: ignore[misc]
    yield database


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("append"),
            st.integers(0, 2),
            st.lists(st.integers(0, 9), min_size=1, max_size=5),
            st.booleans(),
        ),
        st.tuples(st.just("step"), st.integers(1, 4), st.booleans()),
        st.tuples(st.just("purge"), st.integers(1, 9)),
        st.tuples(st.just("erase")),
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_kept_and_tail_equal_the_facts(database: Database, clock: SimulatedClock, steps: list[Any]) -> None:
    with emptied(database):
        expected: Counter[tuple[str, str]] = Counter()
        for step in steps:
            match step:
                case ("append", which, days, crashes):
                    new = record(clock, days, which)
                    target: Any = CrashingDatabase(database) if crashes else database
                    work = partial(ledger.append, new=new, now=clock.now())
                    if crashes:
                        with pytest.raises(Crash):
                            target.write(work)
                    else:
                        target.write(work)
                        expected[LABELS[which][0].value, LABELS[which][1]] += len(new)
                case ("step", limit, crashes):
                    if crashes:
                        dying: Any = CrashingDatabase(database)
                        with_facts = step_or_crash(dying, limit)
                        assert with_facts in (0, None)
                    else:
                        projection.step(database, limit=limit)
                case ("purge", days):
                    purge(database, {Kind.EVENT: days}, clock.now())
                case _:
                    with database.read() as connection:
                        known = bool(ledger.of_user(connection, "ann", limit=1))
                    if known:
                        erase(database, [FACTS], ["ann"], clock.now())
                        expected["change", "user_erased"] += 1
            assert total(database) == expected


def step_or_crash(database: Any, limit: int) -> int | None:
    try:
        return projection.step(database, limit=limit)
    except Crash:
        return None


def test_two_projections_at_once_count_once(database: Database, clock: SimulatedClock) -> None:
    database.write(partial(ledger.append, new=record(clock, [0] * 30, 0), now=clock.now()), rows=30)
    assert projection.step(Overtaken(database), limit=10) == 0  # type: ignore[arg-type]
    assert total(database) == {("event", "seen"): 30}


class Overtaken:
    """A database on which another projection always gets in between reading and writing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> Any:
        return self._database.read()

    def write(self, work: Callable[[Connection], Any], *, rows: int = 1) -> Any:
        projection.step(self._database, limit=20)
        return self._database.write(work, rows=rows)


def test_wrong_counters_are_found(database: Database, clock: SimulatedClock) -> None:
    new = [*record(clock, [0, 0, 1], 0), *record(clock, [0], 1), *record(clock, [0], 2)]
    database.write(partial(ledger.append, new=new, now=clock.now()))
    assert projection.catch_up(database) == 5
    today, yesterday = date(2026, 3, 2), date(2026, 3, 1)

    def spoil(connection: Connection) -> None:
        seen = fact_counts.c.label == "seen"
        newest = fact_counts.c.day == (today - date(1970, 1, 1)).days
        connection.execute(update(fact_counts).where(seen, newest).values(number=5))
        connection.execute(delete(fact_counts).where(seen, ~newest))
        connection.execute(delete(facts).where(facts.c.label == "sent"))

    database.write(spoil)
    with database.read() as connection:
        assert projection.recount(connection) == [
            Difference(Kind.EVENT, "seen", yesterday, 0, 1),
            Difference(Kind.EVENT, "seen", today, 5, 2),
            Difference(Kind.MESSAGE, "sent", today, 1, 0),
        ]


def test_many_labels_are_taken_in_turns_that_fit(database: Database, clock: SimulatedClock) -> None:
    for start in range(0, 900, 450):
        new = [
            NewFact(Kind.TAG, new_id(clock.now()), f"tag-{number}", "ann", clock.now(), {})
            for number in range(start, start + 450)
        ]
        database.write(partial(ledger.append, new=new, now=clock.now()), rows=450)
    assert projection.catch_up(database) == 900
    assert sum(total(database).values()) == 900


def test_counts_wait_for_no_one(postgres_url: str, clock: SimulatedClock) -> None:
    """What committed while an older transaction still runs is counted, though readers don't get it yet."""
    with closing(Database(postgres_url)) as database, database.read() as old:
        old.exec_driver_sql("SELECT pg_current_xact_id()")
        database.write(partial(ledger.append, new=record(clock, [0, 0], 0), now=clock.now()))
        assert projection.catch_up(database) == 0
        assert total(database) == {("event", "seen"): 2}
        old.rollback()
        assert projection.catch_up(database) == 2
        assert total(database) == {("event", "seen"): 2}
