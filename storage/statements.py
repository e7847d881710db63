"""Statements that run many times a second: compiled once, and inserts that wait for the end of the turn.

Building and compiling a SQLAlchemy statement costs several times what SQLite needs to run it. A
`Statement` is compiled once for each kind of database and takes plain values from then on: moments as
microseconds (`storage.times.to_micros`), JSON as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import ClauseElement

Row = Mapping[str, Any]

_DEFERRED = "nextplay.deferred"


class Statement:
    """A Core statement with bind parameters, compiled once for each dialect."""

    __slots__ = ("_clause", "_compiled")

    def __init__(self, clause: Executable) -> None:
        self._clause = clause
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, row: Row) -> CursorResult[Any]:
        """Run the statement once; `row` has a plain value for every bind parameter."""
        compiled = self._of(connection)
        return connection.exec_driver_sql(compiled.sql, compiled.arguments(row))

    def run_many(self, connection: Connection, rows: Iterable[Row]) -> None:
        """Run the statement for each row, which all have the same keys."""
        compiled = self._of(connection)
        arguments = [compiled.arguments(row) for row in rows]
        if arguments:
            connection.exec_driver_sql(compiled.sql, arguments)

    def _of(self, connection: Connection) -> _Compiled:
        dialect = connection.dialect
        known = self._compiled.get(dialect.name)
        if known is None:
            assert isinstance(self._clause, ClauseElement)  # noqa: S101 - every Core statement is one
            compiled: Any = self._clause.compile(dialect=dialect)
            constants = {name: value for name, value in compiled.params.items() if value is not None}
            order = tuple(compiled.positiontup) if compiled.positional else None
            known = self._compiled[dialect.name] = _Compiled(str(compiled), order, constants)
        return known


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


def defer(connection: Connection, statement: Statement, rows: Iterable[Row]) -> None:
    """Run an insert for these rows at the end of the writer's turn, together with those of other work.

    What is deferred is part of the transaction, but not seen by reads inside it. A row that the database
    refuses fails the work that deferred it.
    """
    connection.info.setdefault(_DEFERRED, {}).setdefault(statement, []).extend(rows)


def run_deferred(connection: Connection) -> None:
    """Run what was deferred on this connection, one batch for each statement."""
    deferred: dict[Statement, list[Row]] = connection.info.pop(_DEFERRED, {})
    for statement, rows in deferred.items():
        statement.run_many(connection, rows)


def forget_deferred(connection: Connection) -> None:
    """Drop what was deferred, because the transaction is rolled back.

    A lost connection took it along, and must not be touched: that would hide why it was lost.
    """
    if not (connection.closed or connection.invalidated):
        connection.info.pop(_DEFERRED, None)
