"""Whether a database takes writes: said by what it refused, or by a small write where nobody wrote."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, make_url

from storage.engine import Database
from storage.errors import DatabaseRefuses, DatabaseUnavailable
from tests.conftest import administering
from tests.disk import full_disk

PATIENCE = 5.0
LATELY = 0.3


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, and count only for a moment what was refused."""
    monkeypatch.setattr("storage.writability._AGAIN", 0.0)
    monkeypatch.setattr("storage.writability._LATELY", LATELY)


def write(connection: Connection) -> None:
    connection.exec_driver_sql("INSERT INTO ledger_base (id, base) VALUES (7, 1)")
    connection.exec_driver_sql("DELETE FROM ledger_base WHERE id = 7")


def writing(database: Database) -> list[Any]:
    """Note from now on what is handed to the writer."""
    handed: list[Any] = []
    submit = database.writer.submit

    def noting(work: Any, **how: Any) -> Any:
        handed.append(work)
        return submit(work, **how)

    database.writer.submit = noting  # type: ignore[method-assign]
    return handed


def look(database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what is wrong, as though the last small write were long ago."""
    monkeypatch.setattr("storage.writability._TRUSTED", 0.0)
    return str(database.writability.trouble(PATIENCE))


def test_however_often_it_is_asked_it_writes_once_while_all_is_well(database: Database) -> None:
    handed = writing(database)
    assert [database.writability.trouble(PATIENCE) for _ in range(20)] == [None] * 20
    assert len(handed) == 1


def test_a_full_disk_is_found_where_nobody_writes(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(sqlite_url)
    assert database.writability.trouble(PATIENCE) is None
    with full_disk():
        said = look(database, monkeypatch)
        assert "nothing was written" in said
        assert "room" in said
        with pytest.raises(DatabaseRefuses, match="room"):
            database.write(write)
    time.sleep(LATELY)
    assert database.writability.trouble(PATIENCE) is None
    database.write(write)
    database.close()


@contextmanager
def read_only(database: Database, server: str) -> Iterator[None]:
    """Let the database take no writes, as a standby or a file without the right to write does."""
    if database.is_sqlite:
        # Not in a turn: that could not begin any more.
        driver: Any = database.write(lambda connection: connection.connection.driver_connection)
        driver.execute("PRAGMA query_only=ON").close()
        yield
        driver.execute("PRAGMA query_only=OFF").close()
        return
    name = make_url(database.url).database
    with administering(server) as connection:
        for setting in ("= on", "= off"):
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only {setting}")
            connection.exec_driver_sql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )
            if setting == "= on":
                yield


def test_what_was_refused_is_said_at_once_and_forgotten_when_writes_succeed(
    database: Database, request: pytest.FixtureRequest
) -> None:
    assert database.writability.trouble(PATIENCE) is None
    server = "" if database.is_sqlite else request.getfixturevalue("postgres_server")
    with read_only(database, server):
        with pytest.raises(DatabaseRefuses, match="read-only; nothing was written") as caught:
            database.write(write)
        assert str(database.writability.trouble(PATIENCE)) == str(caught.value)
        todo = "permissions" if database.is_sqlite else "default_transaction_read_only"
        assert todo in str(caught.value)
        time.sleep(LATELY)
        # No longer lately, and still so.
        assert "read-only" in str(database.writability.trouble(PATIENCE))
    time.sleep(LATELY)
    assert database.writability.trouble(PATIENCE) is None
    database.write(write)


def test_a_small_write_that_succeeds_does_not_hide_what_was_just_refused(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(sqlite_url)
    with read_only(database, ""), pytest.raises(DatabaseRefuses):
        database.write(write)
    assert "read-only" in look(database, monkeypatch)
    time.sleep(LATELY)
    assert look(database, monkeypatch) == "None"
    database.close()


def test_a_writer_that_hangs_is_said_and_asked_once(database: Database) -> None:
    if not database.is_sqlite:
        # Eight of them, all of which would have to hang.
        held = [threading.Event() for _ in range(database.writer.at_once)]
    else:
        held = [threading.Event()]
    waiting = [database.writer.submit(lambda _, one=one: one.wait(60)) for one in held]  # type: ignore[misc]
    time.sleep(0.1)
    handed = writing(database)
    for _ in range(3):
        said = database.writability.trouble(0.05)
        assert isinstance(said, DatabaseUnavailable)
        assert "not ended within 0.05 s" in str(said)
    assert len(handed) == 1
    for one in held:
        one.set()
    for future in waiting:
        future.result()
    assert database.writability.trouble(PATIENCE) is None
    assert len(handed) == 1
