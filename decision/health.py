"""Whether the process is alive, whether it can serve, and what it says while its database is away."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

import duckdb
import structlog
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from decision import problems
from decision.errors import FeatureStoreUnavailable, NoRoom
from feature_repo.disk import is_trouble
from feature_repo.errors import StoreUnavailable
from storage.errors import DatabaseUnavailable, NextplayError

if TYPE_CHECKING:
    from decision.wiring import Service

_log = structlog.get_logger(__name__)

# Whoever asks for readiness wants to know soon; a database that is slower than this does not serve anybody.
PATIENCE_SECONDS = 2.0
# What any file may say when there is no room: the disk is full, a quota or a limit of the process is reached.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OK = "ok"
_NOT_READY = {"type": "urn:nextplay:problem:not-ready", "title": "not ready", "status": 503}
# What SQLite says when the file, not the statement, is the trouble.
_SQLITE_TROUBLE = ("locked", "readonly", "disk", "unable to open")


class _Question:
    """Something that may take long to answer; it is asked once at a time, however many want to know.

    A database that hangs must not take a thread for everyone who asks.
    """

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[str] | None = None

    async def answer(self) -> str:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(run_in_threadpool(self._ask))
        await asyncio.wait([self._asking], timeout=PATIENCE_SECONDS)
        return self._asking.result() if self._asking.done() else f"no answer within {PATIENCE_SECONDS:g} s"


class _Readiness:
    """Asks every part of a service whether it can serve."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._reads, self._writes = _Question(self._read), _Question(self._write)

    async def parts(self) -> dict[str, str]:
        """Return what each part says: `ok`, or what is wrong with it."""
        database, writer = await asyncio.gather(self._reads.answer(), self._writes.answer())
        return {
            "serving": "shutting down" if self._service.draining else _OK,
            "database": database,
            "policy": _OK if self._service.decider.snapshot.policy.version else "none is loaded",
            "writer": writer,
        }

    def _read(self) -> str:
        try:
            with self._service.database.read() as connection:
                connection.exec_driver_sql("SELECT 1")
        except Exception as error:  # noqa: BLE001 - whatever it is, the database does not answer
            return str(unavailable(error) or type(error).__name__)
        return _OK

    def _write(self) -> str:
        database = self._service.database
        try:
            # Refused when the queue is full; nobody waits for it.
            database.writer.submit(lambda _: None)
        except NextplayError as error:
            return str(error)
        return str(database.writability.trouble(PATIENCE_SECONDS) or _OK)


def add_routes(app: FastAPI, service: Service) -> None:
    """Add `/health` and `/ready`, and answer 503 to whatever a lost database stopped."""
    readiness = _Readiness(service)

    async def health(_request: Request) -> Response:
        """The process runs."""
        return JSONResponse({"status": _OK})

    async def ready(_request: Request) -> Response:
        """The service can decide: its database answers and takes writes, its policy is loaded."""
        parts = await readiness.parts()
        policy = service.decider.snapshot.policy.version
        wrong = {name: said for name, said in parts.items() if said != _OK}
        if not wrong:
            return JSONResponse({"status": "ready", "policy": policy, "parts": parts})
        detail = "; ".join(f"{name}: {said}" for name, said in wrong.items())
        refusal = {**_NOT_READY, "detail": detail, "parts": parts}
        return problems.Problem(refusal, {"Retry-After": "1"})

    app.add_route("/health", health, include_in_schema=False)
    app.add_route("/ready", ready, include_in_schema=False)

    async def lost(_request: Request, error: Exception) -> Response:
        away = unavailable(error)
        if away is None:
            _log.error("unexpected error", exc_info=error)
            return problems.problem(500, "internal", "an unexpected error; the service's log says more")
        _log.warning("request failed", code=away.code, detail=str(away))
        return problems.of_error(away)

    app.add_exception_handler(DBAPIError, lost)
    app.add_exception_handler(PoolTimeout, lost)
    app.add_exception_handler(PendingRollbackError, lost)
    app.add_exception_handler(StoreUnavailable, lost)
    app.add_exception_handler(OSError, lost)
    app.add_exception_handler(sqlite3.Error, lost)
    app.add_exception_handler(duckdb.IOException, lost)


Away = DatabaseUnavailable | FeatureStoreUnavailable | NoRoom


def unavailable(error: BaseException) -> Away | None:
    """Return what an error means if the database, a file of the features or room is missing, else None."""
    if isinstance(error, DatabaseUnavailable):
        return error
    if isinstance(error, PendingRollbackError) and error.__context__ is not None:
        # The connection was lost in the middle of a transaction, and something else was tried on it.
        return unavailable(error.__context__)
    return _of_the_database(error) or _of_a_file(error)


def _of_the_database(error: BaseException) -> DatabaseUnavailable | None:
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable("the database is too slow: every connection is in use; try again")
    if not isinstance(error, DBAPIError):
        return None
    said = " ".join(str(error.orig).split())
    if type(error.orig).__module__.startswith("sqlite3"):
        away = any(word in said for word in _SQLITE_TROUBLE)
    else:
        away = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return DatabaseUnavailable(f"the database does not answer ({said}); try again") if away else None


def _of_a_file(error: BaseException) -> FeatureStoreUnavailable | NoRoom | None:
    if isinstance(error, StoreUnavailable):
        return FeatureStoreUnavailable(str(error))
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return NoRoom(
            f"there is no room for a file ({error.strerror}); nothing was written: free some, then try again"
        )
    # Whoever opens such files elsewhere than in the database's engine keeps features in them.
    if isinstance(error, sqlite3.Error | duckdb.IOException) and is_trouble(error):
        return FeatureStoreUnavailable(
            f"a file of the features can't be used ({error}): free some room or set its permissions right"
        )
    return None
