"""Statements that run many times a second: compiled once, and inserts that wait for the end of the turn.

Building and compiling a SQLAlchemy statement costs several times what SQLite needs to run it. A
`Statement` is compiled once for each kind of database and takes plain values from then on: moments as
microseconds (`storage.times.to_micros`), JSON as text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, CursorResult, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import ClauseElement

Row = Mapping[str, Any]
R = TypeVar("R")

_DEFERRED = "nextplay.deferred"


class Statement:
    """A Core statement with bind parameters, compiled once for each dialect."""

    __slots__ = ("_clause", "_compiled")

    def __init__(self, clause: Executable) -> None:
        self._clause = clause
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, row: Row) -> CursorResult[Any]:
        """Run the statement once; `row` has a plain value for every bind parameter."""
        compiled = self._of(connection.dialect)
        return connection.exec_driver_sql(compiled.sql, compiled.arguments(row))

    def run_many(self, connection: Connection, rows: Iterable[Row]) -> None:
        """Run the statement for each row, which all have the same keys."""
        compiled = self._of(connection.dialect)
        run_each(connection, compiled.sql, [compiled.arguments(row) for row in rows])

    def rows(self, connection: Connection, row: Row) -> list[tuple[Any, ...]]:
        """Run a query once and return all of its rows, as plain tuples."""
        driver = _driver(connection)
        if driver is None:
            return [tuple(one) for one in self.run(connection, row)]
        return self.rows_of(driver, connection.dialect, row)

    def rows_of(self, driver: sqlite3.Connection, dialect: Dialect, row: Row) -> list[tuple[Any, ...]]:
        """Do as `rows` does on a connection of SQLite's driver.

        Raises:
            sqlalchemy.exc.DBAPIError: as SQLAlchemy would.
        """
        compiled = self._of(dialect)
        arguments = compiled.arguments(row)
        try:
            return driver.execute(compiled.sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise _wrapped(error, compiled.sql, arguments, dialect) from error

    def _of(self, dialect: Dialect) -> _Compiled:
        known = self._compiled.get(dialect.name)
        if known is None:
            assert isinstance(self._clause, ClauseElement)  # noqa: S101 - every Core statement is one
            compiled: Any = self._clause.compile(dialect=dialect)
            constants = {name: value for name, value in compiled.params.items() if value is not None}
            order = tuple(compiled.positiontup) if compiled.positional else None
            known = self._compiled[dialect.name] = _Compiled(str(compiled), order, constants)
        return known


def run_each(connection: Connection, sql: str, arguments: list[Any]) -> None:
    """Run a statement of a database's own for each of some arguments, as its driver takes them."""
    if not arguments:
        return
    driver = _driver(connection)
    if driver is None:
        connection.exec_driver_sql(sql, arguments)
        return
    try:
        driver.executemany(sql, arguments).close()
    except sqlite3.Error as error:
        raise _wrapped(error, sql, arguments, connection.dialect) from error


def run_plain(connection: Connection, sql: str) -> None:
    """Run a statement without arguments and rows on SQLite, also one that begins a transaction.

    Raises:
        sqlalchemy.exc.DBAPIError: as SQLAlchemy would.
    """
    driver: Any = connection.connection.driver_connection
    try:
        driver.execute(sql).close()
    except sqlite3.Error as error:
        raise _wrapped(error, sql, (), connection.dialect) from error


def _driver(connection: Connection) -> sqlite3.Connection | None:
    """Return the connection of SQLite's driver; None on another database, or where none has begun to work.

    SQLAlchemy takes as long over a statement as SQLite takes over several. It begins a transaction with the
    first statement that goes through it, so the driver is asked only after that.
    """
    if connection.dialect.name != "sqlite" or not connection.in_transaction():
        return None
    driver: sqlite3.Connection | None = connection.connection.driver_connection
    return driver


def _wrapped(error: sqlite3.Error, sql: str, arguments: Any, dialect: Dialect) -> Exception:
    """Return what SQLAlchemy would raise."""
    return DBAPIError.instance(sql, arguments, error, sqlite3.Error, dialect=dialect)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """SQL of one dialect; `order` of the parameters where they go by place, `constants` written into it."""

    sql: str
    order: tuple[str, ...] | None
    constants: Row

    def arguments(self, row: Row) -> Any:
        values = {**self.constants, **row} if self.constants else row
        if self.order is None:
            return dict(values)
        return tuple([values[name] for name in self.order])


class OfMany(Protocol[R]):
    """A statement that is run for many rows at a time: `Statement`, or one of `storage.bulk`."""

    def run_many(self, connection: Connection, rows: list[R], /) -> None: ...


def defer(connection: Connection, statement: OfMany[R], rows: Iterable[R]) -> None:
    """Run an insert for these rows at the end of the writer's turn, together with those of other work.

    What is deferred is part of the transaction, but not seen by reads inside it. A row that the database
    refuses fails the work that deferred it.
    """
    connection.info.setdefault(_DEFERRED, {}).setdefault(statement, []).extend(rows)


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Undo what the block did, and no more, if it raises; also what it deferred."""
    deferred: dict[OfMany[Any], list[Any]] = connection.info.setdefault(_DEFERRED, {})
    before = {statement: len(rows) for statement, rows in deferred.items()}
    try:
        with connection.begin_nested():
            yield
    except BaseException:
        for statement, rows in deferred.items():
            del rows[before.get(statement, 0) :]
        raise


def run_deferred(connection: Connection) -> None:
    """Run what was deferred on this connection, one batch for each statement."""
    deferred: dict[OfMany[Any], list[Any]] = connection.info.pop(_DEFERRED, {})
    for statement, rows in deferred.items():
        statement.run_many(connection, rows)


def forget_deferred(connection: Connection) -> None:
    """Drop what was deferred, because the transaction is rolled back.

    A lost connection took it along, and must not be touched: that would hide why it was lost.
    """
    if not (connection.closed or connection.invalidated):
        connection.info.pop(_DEFERRED, None)
