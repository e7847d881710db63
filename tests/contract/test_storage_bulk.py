"""Many rows in one statement come back as they went in, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, Text, select
from sqlalchemy.exc import DBAPIError

from storage.bulk import Inserts, Updates, Values
from storage.engine import Database
from storage.ids import new_id
from storage.times import Instant, from_micros

_TABLE = Table(
    "bulk_of_a_test",
    MetaData(),
    Column("key", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("note", String(4)),
    Column("at", Instant),
)
_ADD = Inserts(_TABLE, ("name", "note", "at", "key"))
_SET = Updates(_TABLE, ("note", "at"), "key")
# All that Postgres takes; quotes, braces, commas and the word NULL mean something in its arrays.
_TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
_ODD = st.sampled_from(['"', "\\", '\\"', "{}", ",", "NULL", "", "None", " a ", "ü\n\t'"])
_NOTES = st.none() | st.sampled_from(["", "abcd", '"\\', "NULL"])
_MOMENTS = st.none() | st.integers(-(10**15), 10**16)


@pytest.fixture
def table(database: Database) -> Database:
    database.write(_TABLE.create)
    return database


def stored(connection: Connection) -> list[Values]:
    return [tuple(row) for row in connection.execute(select(_TABLE).order_by(_TABLE.c.key))]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_TEXTS | _ODD, _NOTES, _MOMENTS, _NOTES, _MOMENTS), max_size=6))
def test_whatever_is_written_comes_back(table: Database, rows: list[Values]) -> None:
    def work(connection: Connection) -> None:
        connection.execute(_TABLE.delete())
        _ADD.run_many(connection, [(name, note, at, key) for key, (name, note, at, *_) in enumerate(rows)])
        _SET.run_many(connection, [(note, at, key) for key, (*_, note, at) in enumerate(rows) if key != 1])
        expected = [
            (key, name, note, at if at is None else from_micros(at))
            for key, (name, *pair) in enumerate(rows)
            for note, at in [pair[:2] if key == 1 else pair[2:]]
        ]
        assert stored(connection) == expected

    table.write(work)


@pytest.mark.parametrize("name", ["a\x00b", "\x00"])
def test_what_postgres_refuses_is_refused_and_nothing_is_kept(table: Database, name: str) -> None:
    rows: list[Values] = [("a", None, None, 1), (name, None, None, 2)]
    if table.is_sqlite:
        table.write(lambda connection: _ADD.run_many(connection, rows))
        with table.read() as connection:
            assert [row[1] for row in stored(connection)] == ["a", name]
        return
    with pytest.raises(DBAPIError, match="NUL"):
        table.write(lambda connection: _ADD.run_many(connection, rows))
    with pytest.raises(DBAPIError, match="too long"):
        table.write(lambda connection: _ADD.run_many(connection, [("a", "abcde", None, 1)]))
    with table.read() as connection:
        assert stored(connection) == []


def test_ids_of_one_millisecond_sort_as_they_were_made() -> None:
    now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    ids = [new_id(now) for _ in range(2_000)]
    assert len(set(ids)) == len(ids)
    # At most once the count begins anew.
    assert sum(one > other for one, other in pairwise(ids)) <= 1
