"""A database, SQLite or Postgres, behind one interface: read from anywhere, write through one writer."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, PoolProxiedConnection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from storage.checkpoints import LOG_PAGES, Checkpoints
from storage.errors import ConfigurationError, DatabaseInUse, DatabaseUnavailable
from storage.migrate import check_schema, upgrade
from storage.records import know_all
from storage.sqlite_writer import GuestWriter, SqliteWriter
from storage.statements import Row, Statement, run_plain
from storage.turns import Borrower
from storage.writability import Writability
from storage.writer import Lane, PooledWriter, Work, Writer

T = TypeVar("T")

_POSTGRES_DRIVER = "postgresql+psycopg"
# Whatever stands between a user and a host, also where the rest is no URL.
_PASSWORD = re.compile(r"(?<=[^:/]:)(?!//).*@")
_SQLITE_BUSY_MS = 5_000
_SQLITE_CACHE_KIB = 64 * 1024
# What writes has less: after a commit that moved pages of an index apart, SQLite looks through all it keeps
# (`pcache1TruncateUnsafe`, with the number of a page that no file has). With 64 MiB that was half of a small
# commit. No less than what a turn of the background changes, or that would be written twice.
_SQLITE_WRITER_CACHE_KIB = 4 * 1024
# Seconds that a guest waits for the one before it to be gone: a killed process takes a moment to end.
_GUEST_SECONDS = 30.0


class Database:
    """An opened database whose schema is that of the code.

    Reads take any of a pool of connections and never block a write; every write goes through `writer`.
    On SQLite the file belongs to one server at a time (a lock file beside it says so), which may lend turns
    of its writer to one other process, its guest.
    """

    def __init__(self, url: str, *, create: bool = True, turns: Borrower | None = None) -> None:
        """Open `url` (`sqlite:///path/to/file.db` or `postgresql://…`), creating tables in an empty database.

        Args:
            create: create missing tables and bring old ones up to date.
            turns: lent by the process that owns the SQLite file; then this one opens it as a guest.

        Raises:
            ConfigurationError: the URL can't be understood.
            DatabaseUnavailable: the database can't be reached or written.
            DatabaseInUse: another server owns the SQLite file.
            SchemaMismatch: the tables are older or newer than the code.
        """
        know_all()
        self.url = _parse(url)
        self._lock: FileLock | None = None
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._lock = _own_file(self.url) if turns is None else _visit_file(self.url)
            write_engine = _sqlite_engine(self.url, read_only=False)
            self._read_engine = _sqlite_engine(self.url, read_only=True)
        else:
            write_engine = self._read_engine = create_engine(self.url, pool_size=16, pool_pre_ping=True)
        self._write_engine = write_engine
        # Connections that nobody looks through just now.
        self._looking: list[PoolProxiedConnection] = []
        try:
            # A guest looks without writing: it is not its turn.
            with (write_engine if turns is None else self._read_engine).connect() as connection:
                if create and turns is None:
                    upgrade(connection)
                check_schema(connection)
        except DBAPIError as error:
            self._release()
            said = " ".join(str(error.orig).split())
            raise DatabaseUnavailable(
                f"can't open {_shown(url)}: {said}; {_hint(error, self.is_sqlite)}"
            ) from error
        except BaseException:
            self._release()
            raise
        self.writer: Writer
        self._checkpoints: Checkpoints | None = None
        if self.is_sqlite and turns is None:
            self._checkpoints = Checkpoints(write_engine)
        if not self.is_sqlite:
            self.writer = PooledWriter(write_engine)
        elif turns is None:
            self.writer = SqliteWriter(write_engine)
        else:
            self.writer = GuestWriter(write_engine, turns)
        self.writability = Writability(self.writer)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one consistent, committed state."""
        with self._read_engine.connect() as connection:
            yield connection

    def look(self, statement: Statement, row: Row) -> list[tuple[Any, ...]]:
        """Return the rows of one query, in what is committed now.

        For what is asked at every decision: on SQLite it costs a tenth of `read`, which takes a connection
        from the pool and begins and ends a transaction.
        """
        if not self.is_sqlite:
            with self.read() as connection:
                return statement.rows(connection, row)
        try:
            looking = self._looking.pop()
        except IndexError:
            looking = self._read_engine.raw_connection()
            # The pool counts it no more: there may be as many as threads that look.
            looking.detach()
        try:
            driver: Any = looking.dbapi_connection
            return statement.rows_of(driver, self._read_engine.dialect, row)
        finally:
            self._looking.append(looking)

    def write(self, work: Work[T], *, rows: int = 1, lane: Lane = Lane.BACKGROUND, forced: bool = True) -> T:
        """Run `work` in a transaction and return its result once it is durable (see `Writer.submit`)."""
        return self.writer.submit(work, rows=rows, lane=lane, forced=forced).result()

    def close(self) -> None:
        """Finish what is queued and let go of the database."""
        self.writer.close()
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._release()

    def _release(self) -> None:
        while self._looking:
            self._looking.pop().close()
        self._write_engine.dispose()
        self._read_engine.dispose()
        if self._lock is not None:
            self._lock.release()


class Reader:
    """A database that somebody else owns, to be read from: without a writer, a lock and migrations."""

    def __init__(self, url: str) -> None:
        """Open `url` as `Database` does.

        Raises:
            ConfigurationError, SchemaMismatch: as `Database`.
        """
        parsed = _parse(url)
        sqlite = parsed.get_backend_name() == "sqlite"
        self._engine = _sqlite_engine(parsed, read_only=True) if sqlite else create_engine(parsed)
        with self._engine.connect() as connection:
            check_schema(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one consistent, committed state."""
        with self._engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigurationError(
            f"the database URL {_shown(url)!r} can't be understood; write sqlite:///path/to/file.db or "
            "postgresql://user:password@host/database"
        ) from error
    if backend == "postgresql":
        return parsed.set(drivername=_POSTGRES_DRIVER)
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed
    raise ConfigurationError(
        f"the database URL {_shown(url)!r} names neither a SQLite file nor a Postgres database; write "
        "sqlite:///path/to/file.db or postgresql://user:password@host/database"
    )


def _shown(url: str) -> str:
    """Return a URL as it may be told: without password and options."""
    return _PASSWORD.sub("***@", url.partition("?")[0])


def _hint(error: DBAPIError, is_sqlite: bool) -> str:
    """Say what to do about a database that can't be opened."""
    if not is_sqlite:
        return "check that the server runs and that the account may write there"
    full = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return "free some room on its disk" if full else "check that it is a database's file and may be written"


def _own_file(url: URL) -> FileLock:
    path = Path(str(url.database))
    lock = FileLock(path.with_name(path.name + ".lock"), thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DatabaseInUse(
            f"another nextplay process owns {path}; stop it first, or give this one another --data folder"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise DatabaseUnavailable(
            f"can't write to {path.parent}: it is, or lies below, a file; name another --data folder"
        ) from error
    except OSError as error:
        raise DatabaseUnavailable(
            f"can't write to {path.parent}: {error.strerror}; check its permissions"
        ) from error
    return lock


def _visit_file(url: URL) -> FileLock:
    """Wait until no other guest is left, of this server or of one before it."""
    path = Path(str(url.database))
    lock = FileLock(path.with_name(path.name + ".guest.lock"), thread_local=False)
    try:
        lock.acquire(timeout=_GUEST_SECONDS)
    except Timeout as error:
        raise DatabaseInUse(
            f"the jobs of an earlier nextplay process still use {path}; end that process first"
        ) from error
    return lock


def _sqlite_engine(url: URL, *, read_only: bool) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _SQLITE_BUSY_MS / 1000, "check_same_thread": False})
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "connect")
    def _configure(dbapi_connection: Any, _record: Any) -> None:
        # The driver's own transaction handling starts them late; we say when, in `_begin`.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA cache_size=-{_SQLITE_CACHE_KIB if read_only else _SQLITE_WRITER_CACHE_KIB}")
        if read_only:
            cursor.execute("PRAGMA query_only=ON")
        else:
            cursor.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Each look and each turn begins with it, and SQLAlchemy takes ten times as long over it.
        run_plain(connection, begin)

    return engine
