"""What an error means to whoever asked: no room, no database, no features, or a fault of ours."""

from __future__ import annotations

import errno
import os
import sqlite3

import duckdb
import pytest
import sqlalchemy as sa

from decision.health import unavailable
from feature_repo.errors import StoreUnavailable
from storage.errors import DatabaseUnavailable


def refused_by_the_system(number: int) -> OSError:
    return OSError(number, os.strerror(number), "some/file")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_for_a_file_is_503_whoever_wrote_it(number: int) -> None:
    said = unavailable(refused_by_the_system(number))
    assert said is not None
    assert (said.status, said.code, said.retry) == (503, "no-room", True)
    assert "some/file" not in str(said)
    assert "room" in str(said)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EINVAL, errno.EPIPE])
def test_what_else_the_system_refuses_is_a_fault_of_ours(number: int) -> None:
    assert unavailable(refused_by_the_system(number)) is None


def of_sqlite(statement: str, limit: int = 2) -> sqlite3.Error:
    """Return what SQLite itself says of a file that may not grow."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute(f"PRAGMA max_page_count={limit}")
        with pytest.raises(sqlite3.Error) as caught:
            connection.executescript(f"{statement}; INSERT INTO t VALUES (zeroblob(100000))")
    return caught.value


def test_a_full_sqlite_file_is_503_however_it_was_written() -> None:
    full = of_sqlite("CREATE TABLE t (x)")
    bare, through = unavailable(full), unavailable(sa.exc.OperationalError("INSERT", {}, full))
    assert bare is not None
    assert (bare.status, bare.code) == (503, "feature-store-unavailable")
    assert through is not None
    assert (through.status, through.code) == (503, "database-unavailable")
    for said in (bare, through):
        assert "full" in str(said)


def test_a_wrong_statement_is_a_fault_of_ours() -> None:
    wrong = of_sqlite("CREATE TABEL t (x)")
    assert unavailable(wrong) is None
    assert unavailable(sa.exc.OperationalError("CREATE", {}, wrong)) is None


def test_what_duckdb_can_not_write_is_503() -> None:
    with pytest.raises(duckdb.IOException) as caught:
        duckdb.sql("COPY (SELECT 1) TO '/dev/full/x.parquet'")
    said = unavailable(caught.value)
    assert said is not None
    assert said.code == "feature-store-unavailable"


def test_our_own_say_it_themselves() -> None:
    away = DatabaseUnavailable("away")
    assert unavailable(away) is away
    features = unavailable(StoreUnavailable("no room for features"))
    assert features is not None
    assert (features.code, str(features)) == ("feature-store-unavailable", "no room for features")
    assert unavailable(ValueError("x")) is None
