"""Statements that are compiled once: on both databases they give, and refuse, what SQLAlchemy would."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from storage import ledger, readers
from storage.engine import Database
from storage.ledger import Kind, NewFact
from storage.schema import cursors, facts
from storage.statements import Statement

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
LABELS = Statement(
    select(facts.c.label, facts.c.id).where(facts.c.user_id == bindparam("user")).order_by(facts.c.id)
)
POSITION = Statement(insert(cursors).values(reader=bindparam("reader"), position=bindparam("position")))


def happened(number: int) -> Callable[[Connection], None]:
    fact = NewFact(Kind.EVENT, f"e{number}", f"label-{number}", "ann", NOW, {})
    return lambda connection: ledger.append(connection, [fact], NOW)


def test_a_look_sees_what_is_committed(database: Database) -> None:
    assert database.look(LABELS, {"user": "ann"}) == []
    for number in range(3):
        database.write(happened(number))
        assert len(database.look(LABELS, {"user": "ann"})) == number + 1
    found = database.look(LABELS, {"user": "ann"})
    assert found[0] == ("label-0", "e0")
    with database.read() as connection:
        assert LABELS.rows(connection, {"user": "ann"}) == found
        # Within a transaction that has begun it is the state of that.
        database.write(happened(9))
        if database.is_sqlite:
            assert LABELS.rows(connection, {"user": "ann"}) == found
    assert len(database.look(LABELS, {"user": "ann"})) == 4


def test_many_look_at_once(database: Database) -> None:
    database.write(happened(1))
    with ThreadPoolExecutor(32) as pool:
        looks = list(pool.map(lambda _: database.look(LABELS, {"user": "ann"}), range(300)))
    assert looks == [[("label-1", "e1")]] * 300


def test_what_the_database_refuses_is_said_as_sqlalchemy_says_it(database: Database) -> None:
    def twice(connection: Connection) -> Any:
        POSITION.run_many(connection, [{"reader": "r", "position": 1}] * 2)

    with pytest.raises(IntegrityError):
        database.write(twice)
    with database.read() as connection:
        assert readers.position_of(connection, "r") == 0
    with pytest.raises(DBAPIError):
        database.look(LABELS, {"user": object()})
