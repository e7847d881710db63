"""Opening a database: what is created, what is refused, and how it is said."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from storage.engine import Database
from storage.errors import ConfigurationError, DatabaseInUse, DatabaseUnavailable, SchemaMismatch
from storage.schema import metadata

ROOT = Path(__file__).parents[2]
ROOMS = ("storage", "audiences", "playbooks", "delivery", "learning", "decision")
# Wherever a room declares tables.
TABLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
    if path.name in ("tables.py", "leases_table.py")
]


def test_the_migrations_make_the_tables_of_the_code(database: Database) -> None:
    for module in TABLES:
        importlib.import_module(module)
    with database.read() as connection:
        made = {index for table in metadata.tables.values() for index in table.indexes}
        elsewhere = {
            one.name for one in made if one._ddl_if and one._ddl_if.dialect != connection.dialect.name
        }

        def of_this_kind(_object: object, name: str | None, kind: str, *_: object) -> bool:
            return kind != "index" or name not in elsewhere

        options = {"compare_type": True, "include_object": of_this_kind}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_opening_twice_keeps_what_is_there(database_url: str) -> None:
    Database(database_url).close()
    database = Database(database_url)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM facts").scalar() == 0
    database.close()


@pytest.mark.parametrize("revision", ["9999", "none"])
def test_another_schema_is_refused(database_url: str, revision: str) -> None:
    database = Database(database_url)
    statement = f"UPDATE alembic_version SET version_num = '{revision}'"
    if revision == "none":
        statement = "DELETE FROM alembic_version"
    database.write(lambda connection: connection.exec_driver_sql(statement))
    database.close()
    with pytest.raises(SchemaMismatch, match=r"newer one|nextplay migrate"):
        Database(database_url, create=False)


def test_one_server_for_one_sqlite_file(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with pytest.raises(DatabaseInUse, match="stop it first"):
        Database(sqlite_url)
    database.close()
    Database(sqlite_url).close()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/db", "sqlite://", "sqlite:///:memory:"])
def test_a_wrong_url_is_explained(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write sqlite:///path"):
        Database(url)


def test_an_unreachable_server_is_explained() -> None:
    with pytest.raises(DatabaseUnavailable, match="check that the server runs"):
        Database("postgresql://nobody:secret@127.0.0.1:1/nothing")


def test_the_password_stays_out_of_the_message() -> None:
    with pytest.raises(DatabaseUnavailable) as failure:
        Database("postgresql://nobody:secret@127.0.0.1:1/nothing")
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    "url",
    ["postgres://nobody:secr:e/t@host/x", "nobody:secr:e/t@host/x", "mysql://nobody:secr:e/t@host/x?y=1"],
)
def test_the_password_of_a_wrong_url_is_not_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"nobody:\*\*\*@host/x'") as failure:
        Database(url)
    assert "e/t" not in str(failure.value)


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("these are notes, not a database, and they are long enough to be read as a header" * 20)
    with pytest.raises(DatabaseUnavailable, match=r"notes\.db"):
        Database(f"sqlite:///{path}")


@pytest.mark.parametrize("place", ["notes", "notes/below"])
def test_a_folder_that_is_a_file_is_explained(tmp_path: Path, place: str) -> None:
    (tmp_path / "notes").write_text("no folder")
    with pytest.raises(DatabaseUnavailable, match="a file; name another --data folder"):
        Database(f"sqlite:///{tmp_path / place / 'nextplay.db'}")


def test_sqlite_commits_are_synced(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    full = 2
    assert database.write(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar()) == full
    assert database.write(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar()) == "wal"
    database.close()


def test_reading_connections_do_not_write(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.read() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("INSERT INTO cursors (reader, position) VALUES ('x', 1)")
    database.close()
    engine = create_engine(sqlite_url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM cursors").scalar() == 0
    engine.dispose()
