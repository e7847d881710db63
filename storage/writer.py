"""Durable writes for many callers, behind one interface.

On SQLite many pieces of work share a transaction, one after the other (`storage.sqlite_writer`); on Postgres
each has its own, on a pooled connection.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from storage.errors import DatabaseRefuses, DatabaseUnavailable, NextplayError, WriterBusy
from storage.faultpoints import reached
from storage.statements import forget_deferred, run_deferred

T = TypeVar("T")
Work = Callable[[Connection], T]

# A background job larger than this would hold up every decision behind it.
TURN_ROWS = 500
# Decisions taken in one turn: bounds the time a turn takes, so that the first caller need not wait for all.
TURN_DECISIONS = 256
# Rows that may wait in a lane before callers are told to come back later.
QUEUE_ROWS = 50_000
# Times that a piece of work is begun which others keep from ending by waiting for it in a circle.
_TRIES = 4
# Postgres, appendix A: deadlock_detected, serialization_failure.
_VICTIM = ("40P01", "40001")
# What is wrong with a database that answers and takes no writes, by SQLite's primary result code and by
# Postgres' SQLSTATE (appendix A: disk_full, io_error, read_only_sql_transaction); and what to do.
_REFUSALS: dict[object, str] = {
    sqlite3.SQLITE_FULL: "the disk is full; nothing was written: free some room, then try again",
    sqlite3.SQLITE_READONLY: "the database is read-only; nothing was written: check the file's permissions",
    sqlite3.SQLITE_IOERR: (
        "the database's disk can't be written; nothing was written: see that it has room and is whole, "
        "then try again"
    ),
    "53100": "the disk of the database is full; nothing was written: free some room there, then try again",
    "58030": "the disk of the database fails; nothing was written: look at its server's log",
    "25006": (
        "the database is read-only; nothing was written: name the primary in NEXTPLAY_DATABASE_URL, and see "
        "that default_transaction_read_only is off"
    ),
}
# SQLite's result codes carry more detail above their lowest byte.
_PRIMARY = 0xFF
# How SQLAlchemy says that the connection of a transaction was lost.
_GONE = "Can't reconnect"


class Lane(IntEnum):
    """Who goes first: a customer is waiting for a decision, a client for a request, nobody for the rest."""

    DECISION = 0
    REQUEST = 1
    BACKGROUND = 2


class Refusal(NamedTuple):
    """What a database said that takes no writes, and when, on the monotonic clock."""

    error: DatabaseRefuses
    at: float


class Writer(Protocol):
    """Runs pieces of work durably; a future is done only after its commit."""

    @property
    def refusal(self) -> Refusal | None:
        """What the database last refused to write, None if it never did."""
        ...

    @property
    def at_once(self) -> int:
        """How many commits are made at a time; what is handed over beyond that waits for one of them."""
        ...

    def submit(
        self, work: Work[T], *, rows: int = 1, lane: Lane = Lane.BACKGROUND, forced: bool = True
    ) -> Future[T]:
        """Queue `work`, which writes about `rows` rows through the connection it is given.

        `work` may be called a second time when another piece of the same turn failed, so it must have no
        effect outside its connection.

        Args:
            forced: the commit is forced to disk before the future is done. What is not, a crash of the
                process can't take, but a power cut can, until the next commit that is forced or about a
                second, never in part or out of order. For what is derived from facts and would be derived
                again, as long as nobody outside the database acts on it before a forced commit. Events are
                always forced: files outside the database follow their numbers.

        Raises:
            WriterBusy: too much waits already; nothing was queued.
            ValueError: `rows` exceeds what one turn may take.
        """
        ...

    def close(self) -> None:
        """Finish what is queued, then stop."""
        ...


class Meter(Protocol):
    """Told what a writer does, in the writer's own threads, so it must be quick and never raise."""

    def committed(self, rows: int, seconds: float) -> None:
        """A turn of about `rows` rows became durable, `seconds` after it had begun."""
        ...

    def refused(self, lane: Lane) -> None:
        """A piece of work was not taken because too much waits."""
        ...


class PooledWriter:
    """Each piece of work in its own transaction on a pooled connection (Postgres)."""

    def __init__(self, engine: Engine, workers: int = 8) -> None:
        self._engine = engine
        self.at_once = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="storage-writer")
        self._waiting_rows = dict.fromkeys(Lane, 0)
        self.meter: Meter | None = None
        self.refusal: Refusal | None = None
        self._lock = threading.Lock()

    @property
    def waiting_rows(self) -> dict[Lane, int]:
        """Rows that wait to be written, by lane."""
        return dict(self._waiting_rows)

    def submit(
        self, work: Work[T], *, rows: int = 1, lane: Lane = Lane.BACKGROUND, forced: bool = True
    ) -> Future[T]:
        if lane is not Lane.DECISION and rows > TURN_ROWS:
            raise ValueError(f"a piece of work may write {TURN_ROWS} rows at a turn, not {rows}: split it")
        with self._lock:
            waiting = sum(self._waiting_rows.values())
            if waiting + rows > QUEUE_ROWS:
                raise refusal(waiting, lane, self.meter)
            self._waiting_rows[lane] += rows
        try:
            future = self._pool.submit(self._commit, work, rows, forced)
        except RuntimeError as error:
            raise DatabaseUnavailable(
                "the service is shutting down and takes no more writes; try again later"
            ) from error
        future.add_done_callback(lambda _: self._done(rows, lane))
        return future

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _commit(self, work: Work[T], rows: int, forced: bool) -> T:
        for _ in range(_TRIES - 1):
            try:
                return self._once(work, rows, forced)
            except PendingRollbackError as error:
                raise _ended(error) from error
            except DBAPIError as error:
                # Of two that wait for each other the server ends one, which has then done nothing.
                if not is_victim(error):
                    raise self._explained(error) from error
        try:
            return self._once(work, rows, forced)
        except PendingRollbackError as error:
            raise _ended(error) from error
        except DBAPIError as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        said = explained(error)
        self.refusal = refusal_of(said) or self.refusal
        return said

    def _once(self, work: Work[T], rows: int, forced: bool) -> T:
        started = time.perf_counter()
        with self._engine.begin() as connection:
            if not forced:
                # https://www.postgresql.org/docs/current/wal-async-commit.html
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            try:
                result = work(connection)
                run_deferred(connection)
            finally:
                forget_deferred(connection)
            reached("writer.before_commit")
        reached("writer.committed")
        if self.meter is not None:
            self.meter.committed(rows, time.perf_counter() - started)
        return result

    def _done(self, rows: int, lane: Lane) -> None:
        with self._lock:
            self._waiting_rows[lane] -= rows


def refusal(waiting_rows: int, lane: Lane, meter: Meter | None) -> WriterBusy:
    if meter is not None:
        meter.refused(lane)
    return WriterBusy(
        f"{waiting_rows} rows already wait to be written; nothing was taken: try again in a second"
    )


def is_victim(error: DBAPIError) -> bool:
    """Whether a transaction was ended only because others were under way, and may be tried again."""
    return getattr(error.orig, "sqlstate", None) in _VICTIM


def _ended(error: PendingRollbackError) -> Exception:
    """Return what it means that a transaction can't go on: somebody went on without what failed first."""
    if _GONE not in str(error):
        return error
    return DatabaseUnavailable("the database went away in mid-work; nothing was written: try again")


def explained(error: Exception) -> Exception:
    """Turn what the driver says of a lost, full or read-only database into our own error."""
    if isinstance(error, NextplayError) or not isinstance(error, DBAPIError):
        return error
    if wrong := _REFUSALS.get(_code(error)):
        return DatabaseRefuses(wrong)
    text = str(error.orig)
    if is_victim(error):
        return DatabaseUnavailable(f"others stood in the way ({text}); nothing was written: try again")
    if error.connection_invalidated or "database is locked" in text:
        return DatabaseUnavailable(f"the database does not answer ({text}); nothing was written: try again")
    return error


def refusal_of(error: Exception) -> Refusal | None:
    """Return an error as a refusal of the database that was just met; None if it is something else."""
    return Refusal(error, time.monotonic()) if isinstance(error, DatabaseRefuses) else None


def _code(error: DBAPIError) -> object:
    """Return SQLite's primary result code, or the SQLSTATE."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return getattr(error.orig, "sqlstate", None) if code is None else code & _PRIMARY
