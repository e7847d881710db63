"""Brings a database to the schema of the code, and says so when it is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from storage.errors import SchemaMismatch

# Any number that nobody else uses for an advisory lock.
_MIGRATING = 0x6E706D67
_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Create the tables in an empty database, or bring older ones up to `revision`, in one transaction.

    Of several that do so at once on Postgres, one does it and the others wait and find it done.

    Raises:
        SchemaMismatch: the database was written by a newer version of the code.
    """
    with _alone(connection):
        current = _known_revision(connection)
        if revision == "head" and current == _scripts().get_current_head():
            return
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Let one connection at a time into the block; a SQLite file has one owner anyway."""
    if connection.dialect.name != "postgresql":
        yield
        return
    # Of the session and not of the transaction, for looking at the revision ends one.
    connection.execute(select(func.pg_advisory_lock(_MIGRATING)))
    connection.commit()
    try:
        yield
    finally:
        # The server itself lets go of it when the connection is lost.
        if not connection.invalidated:
            connection.rollback()
            connection.execute(select(func.pg_advisory_unlock(_MIGRATING)))
            connection.commit()


def check_schema(connection: Connection) -> None:
    """Make sure that the database has exactly the schema of the code.

    Raises:
        SchemaMismatch: it is older or newer.
    """
    current, head = _known_revision(connection), _scripts().get_current_head()
    if current != head:
        raise SchemaMismatch(
            f"the database is at schema {current or 'none'}, the code needs {head}: run `nextplay migrate`"
        )


def current_revision(connection: Connection) -> str | None:
    """Return the revision a database stands at, None when it is empty."""
    revision = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    return revision


def _known_revision(connection: Connection) -> str | None:
    current = current_revision(connection)
    known = {script.revision for script in _scripts().walk_revisions()}
    if current is not None and current not in known:
        raise SchemaMismatch(
            f"the database is at schema {current}, which this version of nextplay does not know: "
            "it was written by a newer one; run that version, or restore a backup"
        )
    return current


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
