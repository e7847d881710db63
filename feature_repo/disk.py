"""Files that are there whole or not at all, and what a disk refuses, said as one error."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import duckdb

from feature_repo.errors import StoreUnavailable

# Of SQLite's codes those that mean the file, not the statement: I/O, full, read-only, can't open, in use.
_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    }
)
# An extended code carries more in its higher bits.
_PRIMARY = 0xFF


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a file that is then seen whole or not at all, also after a crash; its folder is made.

    When it fails nothing is left behind, and what was there before is there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    # The new name is durable only once the folder is.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_trouble(error: BaseException) -> bool:
    """Whether an error means that a file can't be read or written, whatever was asked of it."""
    if isinstance(error, sqlite3.Error):
        # What Python itself refuses, such as a closed connection, has no code.
        return getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _TROUBLE
    return isinstance(error, OSError | duckdb.IOException)


@contextmanager
def using(folder: Path) -> Iterator[None]:
    """Say what the disk refuses in the block as StoreUnavailable; other errors pass."""
    try:
        yield
    except (OSError, sqlite3.Error, duckdb.IOException) as error:
        if not is_trouble(error):
            raise
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise StoreUnavailable(
            f"the features in {folder} can't be read or written ({said}): free some room or set its "
            "permissions right, then try again"
        ) from error
