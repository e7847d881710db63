"""The ledger keeps its promises on every database."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy.exc import IntegrityError

from storage import ledger, readers
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact


def order(clock: SimulatedClock, fact_id: str, user: str = "ann", *, days: float = 0) -> NewFact:
    at = clock.now() + timedelta(days=days)
    return NewFact(Kind.EVENT, fact_id, "order_completed", user, at, {"value": 12.5, "note": "ünï\n'\""})


def test_a_fact_comes_back_as_it_went_in(database: Database, clock: SimulatedClock) -> None:
    database.write(lambda connection: ledger.append(connection, [order(clock, "a")], clock.now()))
    with database.read() as connection:
        fact = ledger.get(connection, Kind.EVENT, "a")
    assert fact is not None
    assert fact.occurred_at == clock.now()
    assert fact.recorded_at.utcoffset() == timedelta(0)
    assert fact.decode(dict) == {"value": 12.5, "note": "ünï\n'\""}


def test_an_id_is_unique_within_its_kind(database: Database, clock: SimulatedClock) -> None:
    database.write(lambda connection: ledger.append(connection, [order(clock, "a")], clock.now()))
    with pytest.raises(IntegrityError):
        database.write(
            lambda connection: ledger.append(connection, [order(clock, "b"), order(clock, "a")], clock.now())
        )
    with database.read() as connection:
        assert ledger.get(connection, Kind.EVENT, "b") is None
        assert ledger.get(connection, Kind.DECISION, "a") is None


def test_known_ids_are_left_out(database: Database, clock: SimulatedClock) -> None:
    def write(*ids: str) -> set[str]:
        facts = [order(clock, one) for one in ids]
        return database.write(lambda connection: ledger.append_unless_known(connection, facts, clock.now()))

    assert write("a", "b") == {"a", "b"}
    assert write("b", "c", "c") == {"c"}
    with database.read() as connection:
        assert ledger.counts(connection) == {Kind.EVENT: {"order_completed": 3}}


def test_a_reader_takes_every_fact_once_in_order(database: Database, clock: SimulatedClock) -> None:
    for start in range(0, 250, 50):
        facts = [order(clock, f"{number:03}") for number in range(start, start + 50)]
        database.write(partial(ledger.append, new=facts, now=clock.now()), rows=50)
    seen: list[str] = []
    while True:
        with database.read() as connection:
            position = readers.position_of(connection, "reader")
            page = ledger.read_after(connection, position, kind=Kind.EVENT, limit=70)
        if not page:
            break
        seen += [fact.id for fact in page]
        last = page[-1].seq
        database.write(partial(readers.advance, reader="reader", position=last))
    assert seen == [f"{number:03}" for number in range(250)]


def test_what_happened_between(database: Database, clock: SimulatedClock) -> None:
    facts = [order(clock, str(day), days=day) for day in (3, 1, 2, 0)]
    database.write(lambda connection: ledger.append(connection, facts, clock.now()))
    start, end = clock.now() + timedelta(days=1), clock.now() + timedelta(days=3)
    with database.read() as connection:
        found = ledger.happened_between(connection, Kind.EVENT, "order_completed", start, end)
        assert [fact.id for fact in found] == ["1", "2"]


def test_a_users_facts_newest_first(database: Database, clock: SimulatedClock) -> None:
    facts = [order(clock, "1", days=1), order(clock, "2", days=2), order(clock, "x", "bob", days=3)]
    database.write(lambda connection: ledger.append(connection, facts, clock.now()))
    with database.read() as connection:
        assert [fact.id for fact in ledger.of_user(connection, "ann")] == ["2", "1"]


def test_ids_sort_by_time(clock: SimulatedClock) -> None:
    earlier = new_id(clock.now())
    later = new_id(clock.now() + timedelta(milliseconds=1))
    assert earlier < later
    assert earlier[14] == "7"
