"""Migrations: up from empty, up with data from the release before, down again; the order of facts stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, make_url

import storage
from storage import ledger, projection, readers
from storage.engine import Database
from storage.ledger import Kind, NewFact
from storage.migrate import current_revision, upgrade
from storage.times import to_micros

START = datetime(2026, 3, 2, 23, 0, tzinfo=UTC)
BEFORE_1970 = datetime(1969, 12, 31, 23, 0, tzinfo=UTC)
OLD_FACTS = 30


def config(connection: Connection | None = None) -> Config:
    made = Config()
    made.set_main_option("script_location", str(Path(storage.__file__).parent / "migrations"))
    made.attributes["connection"] = connection
    return made


REVISIONS = [
    script.revision for script in reversed(list(ScriptDirectory.from_config(config()).walk_revisions()))
]


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """Nothing is migrated yet."""
    return empty_database_url


@pytest.fixture
def postgres_url(empty_postgres_url: str) -> str:
    """Nothing is migrated yet."""
    return empty_postgres_url


@contextmanager
def bare(database_url: str) -> Iterator[Connection]:
    """Give a connection to a database that nobody has opened through the code."""
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def downgrade(connection: Connection, revision: str) -> None:
    command.downgrade(config(connection), revision)
    connection.commit()


def record_old(connection: Connection) -> list[int]:
    """Record facts as the first release did, a cursor in the middle of them; returns their numbers."""
    for index in range(OLD_FACTS):
        at = BEFORE_1970 if index == 0 else START + timedelta(minutes=5 * index)
        connection.exec_driver_sql(
            "INSERT INTO facts (kind, id, label, user_id, occurred_at, recorded_at, body) VALUES "
            f"('event', 'old-{index:02}', 'seen', 'ann', {to_micros(at)}, {to_micros(START)}, '{{}}')"
        )
    numbers = list(connection.exec_driver_sql("SELECT seq FROM facts ORDER BY seq").scalars())
    connection.exec_driver_sql(f"INSERT INTO cursors VALUES ('reader', {numbers[9]})")
    connection.commit()
    return numbers


def ids_after(database: Database, position: int) -> list[str]:
    with database.read() as connection:
        return [fact.id for fact in ledger.read_after(connection, position, kind=Kind.EVENT)]


def append(database: Database, *ids: str) -> None:
    new = [NewFact(Kind.EVENT, one, "seen", "ann", START, {}) for one in ids]
    database.write(lambda connection: ledger.append(connection, new, START))


def test_every_step_up_and_down_and_up_again(database_url: str) -> None:
    with bare(database_url) as connection:
        assert current_revision(connection) is None
        for revision in REVISIONS:
            upgrade(connection, revision)
            assert current_revision(connection) == revision
        for revision in [*reversed(REVISIONS[:-1]), "base"]:
            downgrade(connection, revision)
            assert current_revision(connection) == (None if revision == "base" else revision)
        upgrade(connection)
        assert current_revision(connection) == REVISIONS[-1]


def test_what_fails_on_the_way_changes_nothing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed(Exception):
        pass

    def fail(*_: object, **__: object) -> None:
        raise Failed

    def tables() -> tuple[str | None, set[str]]:
        with bare(database_url) as connection:
            return current_revision(connection), set(inspect(connection).get_table_names())

    with bare(database_url) as connection:
        upgrade(connection, "0003")
    before = tables()
    # One of many migrations fails in its middle, after others have made tables.
    with monkeypatch.context() as patched:
        patched.setattr("alembic.operations.Operations.create_index", fail)
        with pytest.raises(Failed):
            Database(database_url)
    assert tables() == before
    Database(database_url).close()
    assert tables()[0] == REVISIONS[-1]


def test_old_facts_keep_their_order_and_new_ones_come_above(database_url: str) -> None:
    with bare(database_url) as connection:
        upgrade(connection, "0001")
        numbers = record_old(connection)
    database = Database(database_url)
    with database.read() as connection:
        position = readers.position_of(connection, "reader")
        assert ledger.counts(connection) == {Kind.EVENT: {"seen": OLD_FACTS}}
        assert projection.recount(connection) == []
    assert position == numbers[9]
    old = [f"old-{index:02}" for index in range(OLD_FACTS)]
    assert ids_after(database, position) == old[10:]
    append(database, "new-1", "new-2")
    append(database, "new-3")
    assert ids_after(database, 0) == [*old, "new-1", "new-2", "new-3"]
    assert projection.catch_up(database) == 3
    with database.read() as connection:
        assert ledger.counts(connection) == {Kind.EVENT: {"seen": OLD_FACTS + 3}}
        assert projection.recount(connection) == []
    database.close()


def test_down_with_data_and_up_again_keeps_the_order(database_url: str) -> None:
    database = Database(database_url)
    append(database, "a", "b")
    append(database, "c")
    database.close()
    with bare(database_url) as connection:
        downgrade(connection, "0001")
        # The release before goes on writing above what is there.
        record_old(connection)
    database = Database(database_url)
    append(database, "d")
    old = [f"old-{index:02}" for index in range(OLD_FACTS)]
    assert ids_after(database, 0) == ["a", "b", "c", *old, "d"]
    with database.read() as connection:
        assert ledger.counts(connection) == {Kind.EVENT: {"seen": OLD_FACTS + 4}}
        assert projection.recount(connection) == []
    database.close()


@pytest.mark.parametrize("numbers", [[5], [2**20 * 10**9, 2**20 * 10**9 + 1]])
def test_old_numbers_of_any_size_stay_below_new_ones(database_url: str, numbers: list[int]) -> None:
    with bare(database_url) as connection:
        upgrade(connection, "0001")
        for number in numbers:
            connection.exec_driver_sql(
                "INSERT INTO facts (seq, kind, id, label, occurred_at, recorded_at, body) "
                f"VALUES ({number}, 'event', '{number}', 'seen', 0, 0, '{{}}')"
            )
        connection.commit()
    database = Database(database_url)
    append(database, "new")
    assert ids_after(database, 0) == [*map(str, numbers), "new"]
    database.close()


_MIGRATE = """
import sys
from sqlalchemy import create_engine
from storage.migrate import current_revision, upgrade
with create_engine(sys.argv[1]).connect() as connection:
    print("ready", flush=True)
    sys.stdin.readline()
    upgrade(connection)
    print(current_revision(connection))
"""


def test_processes_that_migrate_at_once_do_it_once(postgres_url: str) -> None:
    url = make_url(postgres_url).set(drivername="postgresql+psycopg")
    command = [sys.executable, "-c", _MIGRATE, url.render_as_string(hide_password=False)]
    pipe = subprocess.PIPE
    root = Path(storage.__file__).parents[1]
    processes = [
        subprocess.Popen(command, text=True, cwd=root, stdin=pipe, stdout=pipe, stderr=pipe) for _ in range(3)
    ]
    for one in processes:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in processes:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=60) for one in processes]
    assert said == [(f"{REVISIONS[-1]}\n", "")] * 3
