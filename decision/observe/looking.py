"""Opens databases to look at them and nothing else: beside a running server, and without leaving a trace."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.pool import NullPool

from decision.settings import load_settings
from storage.errors import ConfigurationError

_CONNECT_SECONDS = 3
_STATEMENT_SECONDS = 20
_LOCKS = Path("/proc/locks")


def open_sqlite(path: Path) -> sqlite3.Connection:
    """Open a SQLite file for reading.

    Nothing is made beside a file that nobody has open: then it is read as it lies there.
    """
    wal = path.with_name(path.name + "-wal")
    mode = "mode=ro" if wal.exists() and wal.stat().st_size else "mode=ro&immutable=1"
    uri = f"{path.absolute().as_uri()}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=_CONNECT_SECONDS, isolation_level=None)


class Looking:
    """A database at which is only looked, as what reads one takes it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        yield self._connection


@contextmanager
def looking_at(data: Path | None) -> Iterator[Looking]:
    """Give the database of a service, whether it runs or not, to look at.

    Raises:
        ConfigurationError: there is none.
    """
    url = load_settings(data=data).url
    file = sqlite_file(url)
    if file is not None and not file.exists():
        raise ConfigurationError(f"there is no database {file}; name the service's folder with --data")
    with looking(url) as connection:
        yield Looking(connection)


@contextmanager
def looking(url: str) -> Iterator[Connection]:
    """Give a connection that can only read, to a SQLite file that exists or to Postgres."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(str(parsed.database))
        engine = create_engine("sqlite://", creator=lambda: open_sqlite(path), poolclass=NullPool)
    else:
        limits = f"-c statement_timeout={_STATEMENT_SECONDS}s"
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            connect_args={"connect_timeout": _CONNECT_SECONDS, "options": limits},
            # Of its transactions, so that the database's own setting can be asked.
            execution_options={"postgresql_readonly": True},
        )
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite URL, None for another database."""
    parsed = make_url(url)
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


def holder_of(path: Path) -> str | None:
    """Return who holds the lock of a file, None when nobody does or the system does not tell.

    Asked of the system: trying to lock it would for a moment keep a server from starting.
    """
    if not path.exists() or not _LOCKS.exists():
        return None
    inode = str(path.stat().st_ino)
    for line in _LOCKS.read_text().splitlines():
        fields = line.split()
        if len(fields) >= len(("1:", "FLOCK", "ADVISORY", "WRITE", "pid", "place")) and "->" not in fields:
            pid, place = fields[4], fields[5]
            if place.rpartition(":")[2] == inode:
                return _named(int(pid))
    return None


def _named(pid: int) -> str:
    if pid == os.getpid():
        return "this process"
    try:
        # The name alone: arguments may hold passwords.
        return f"process {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"process {pid}"
