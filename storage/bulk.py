"""Many rows of one table in one statement: an insert, or an update by a column that tells rows apart.

Rows are tuples of plain values: moments as microseconds (`storage.times.to_micros`), JSON as text. SQLite
takes them in one `executemany`. Postgres gets each column as one array, in a single statement: there a Bind
and an Execute for each row cost the server and the driver more than the row itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, String, Table

from storage.statements import run_each

Values = tuple[Any, ...]

# Stands between the texts of an array while they are escaped together: Postgres allows it in no text.
_BETWEEN = "\x00"


class Inserts:
    """Inserts rows, given as tuples in the order of `columns`."""

    __slots__ = ("_columns", "_computed", "_given", "_sql", "_table")

    def __init__(
        self,
        table: Table,
        columns: Sequence[str],
        *,
        given: Mapping[str, str] | None = None,
        computed: Mapping[str, ColumnElement[Any]] | None = None,
    ) -> None:
        """Prepare the insert.

        Args:
            columns: the first values of each row.
            given: what comes after them, with its type, that is no column (Postgres only).
            computed: columns as expressions over what is given, of the relation `r` (Postgres only).
        """
        self._table, self._columns = table, tuple(columns)
        self._given, self._computed = dict(given or {}), dict(computed or {})
        self._sql: dict[str, str] = {}

    def run_many(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Insert the rows."""
        _run(connection, self._sql, self._build, rows)

    def _build(self, dialect: Dialect) -> str:
        quote = dialect.identifier_preparer.quote
        names = ", ".join(map(quote, self._columns))
        if dialect.name == "sqlite":
            places = ", ".join("?" for _ in self._columns)
            return f"INSERT INTO {quote(self._table.name)} ({names}) VALUES ({places})"  # noqa: S608 - our own
        types = _types(self._table, self._columns, dialect) | self._given
        into = ", ".join([names, *map(quote, self._computed)])
        computed = [
            str(one.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
            for one in self._computed.values()
        ]
        values = ", ".join([*(f"r.{quote(one)}" for one in self._columns), *computed])
        return f"INSERT INTO {quote(self._table.name)} ({into}) SELECT {values} FROM {_unnest(types, quote)}"  # noqa: S608 - our own


class Updates:
    """Sets columns of rows that are told apart by `key`; the key is the last value of each tuple."""

    __slots__ = ("_columns", "_key", "_sql", "_table")

    def __init__(self, table: Table, columns: Sequence[str], key: str) -> None:
        self._table, self._columns, self._key = table, tuple(columns), key
        self._sql: dict[str, str] = {}

    def run_many(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Update the rows, of which none is named twice."""
        _run(connection, self._sql, self._build, rows)

    def _build(self, dialect: Dialect) -> str:
        quote = dialect.identifier_preparer.quote
        table, key = quote(self._table.name), quote(self._key)
        if dialect.name == "sqlite":
            changes = ", ".join(f"{quote(one)} = ?" for one in self._columns)
            return f"UPDATE {table} SET {changes} WHERE {key} = ?"  # noqa: S608 - names of our own
        types = _types(self._table, (*self._columns, self._key), dialect)
        changes = ", ".join(f"{quote(one)} = r.{quote(one)}" for one in self._columns)
        return f"UPDATE {table} AS t SET {changes} FROM {_unnest(types, quote)} WHERE t.{key} = r.{key}"  # noqa: S608 - our own


def _run(connection: Connection, known: dict[str, str], build: Any, rows: Sequence[Values]) -> None:
    if not rows:
        return
    dialect = connection.dialect
    sql = known.get(dialect.name)
    if sql is None:
        sql = known[dialect.name] = build(dialect)
    if dialect.name == "sqlite":
        run_each(connection, sql, rows if isinstance(rows, list) else list(rows))
    else:
        connection.exec_driver_sql(sql, tuple(map(_array, zip(*rows, strict=True))))


def _types(table: Table, columns: Sequence[str], dialect: Dialect) -> dict[str, str]:
    # A cast to the length of a column would cut what is too long instead of refusing it.
    return {
        name: "text" if isinstance(kind := table.c[name].type, String) else kind.compile(dialect)
        for name in columns
    }


def _unnest(types: Mapping[str, str], quote: Any) -> str:
    arrays = ", ".join(f"CAST(%s AS {one}[])" for one in types.values())
    return f"unnest({arrays}) AS r({', '.join(map(quote, types))})"


def _array(values: Sequence[Any]) -> str:
    """Return the text of a Postgres array of texts, of whole numbers, and of nulls.

    See https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    """
    if not any(isinstance(one, str) for one in values):
        inside = ",".join(map(str, values)).replace("None", "NULL")
    elif None not in values and (joined := _escaped(_BETWEEN.join(values))).count(_BETWEEN) < len(values):
        inside = f'"{joined.replace(_BETWEEN, _NEXT)}"'
    else:
        # What has that character in it is refused by the driver, with the words that it has for that.
        inside = ",".join("NULL" if one is None else f'"{_escaped(one)}"' for one in values)
    return f"{{{inside}}}"


_NEXT = '","'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
