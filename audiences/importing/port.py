"""What is imported: for each kind, how a row is read and recorded. Rooms above have kinds of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import Connection

from audiences.errors import RowRefused
from audiences.events import EARLIEST
from audiences.texts import fit
from storage.errors import NextplayError

T = TypeVar("T")


class Importer(Protocol[T]):
    """Imports one kind of rows. Whatever was before nextplay starts nothing: no trigger, task or message."""

    @property
    def columns(self) -> Sequence[str] | None:
        """Names of the columns that a row may have; None: any."""
        ...

    def read(self, values: Mapping[str, Any], now: datetime) -> T:
        """Return a row in its own type.

        Raises:
            NextplayError: it can't be; the message says which column and why.
        """
        ...

    def size(self, row: T) -> int:
        """Return about how many rows of the database a row writes."""
        ...

    def record(self, connection: Connection, rows: Sequence[T], now: datetime) -> Sequence[bool | str]:
        """Record rows in the caller's transaction.

        Returns for each whether it is new, or why it was refused after all.
        """
        ...

    def recorded(self, rows: Sequence[T]) -> None:
        """Called after the commit."""
        ...


class RefusedRow(msgspec.Struct, frozen=True):
    """A row that was not taken, and why."""

    line: int
    error: str


def read(importer: Importer[T], values: Mapping[str, Any], now: datetime) -> T:
    """Return a row in its importer's type.

    Raises:
        NextplayError: it can't be; the message says which column and why.
    """
    columns = importer.columns
    unknown = [] if columns is None else [name for name in values if name not in columns]
    if columns is not None and unknown:
        raise RowRefused(f"there is no column {unknown[0][:64]!r}; the columns are {', '.join(columns)}")
    return importer.read(values, now)


def text(values: Mapping[str, Any], column: str, default: str | None = None, most: int = 255) -> str:
    """Return a column's text; numbers are taken as they are written.

    Raises:
        RowRefused: it is missing, too long or no text.
    """
    value = values.get(column, default)
    if value is None:
        raise RowRefused(f"`{column}` is missing")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    try:
        return fit(value, f"`{column}`", most)
    except NextplayError as error:
        raise RowRefused(str(error)) from error


def number(values: Mapping[str, Any], column: str, default: int, most: int) -> int:
    """Return a column's whole number, 1 to `most`.

    Raises:
        RowRefused: it is none.
    """
    value = values.get(column, default)
    try:
        found = msgspec.convert(value, int, strict=False)
    except msgspec.ValidationError:
        found = 0
    if not 1 <= found <= most:
        raise RowRefused(f"`{column}` must be a whole number from 1 to {most}")
    return found


def moment(values: Mapping[str, Any], column: str, *, until: datetime | None = None) -> datetime:
    """Return a column's moment in UTC, not later than `until`.

    Raises:
        RowRefused: it is missing, no moment with a time zone, or out of range.
    """
    value = values.get(column)
    if value is None:
        raise RowRefused(f"`{column}` is missing: write when it was, for example 2026-03-02T09:00:00Z")
    try:
        found = msgspec.convert(value, datetime)
    except (msgspec.ValidationError, OverflowError) as error:
        raise RowRefused(f"`{column}` is no moment: write it like 2026-03-02T09:00:00Z") from error
    if found.tzinfo is None:
        raise RowRefused(f"`{column}` {found.isoformat()} has no time zone: append Z or an offset")
    if found < EARLIEST:
        raise RowRefused(
            f"`{column}` {found.isoformat()} lies before {EARLIEST.date()}: the clock was not set"
        )
    if until is not None and found > until:
        raise RowRefused(f"`{column}` {found.isoformat()} lies in the future (it is {until.isoformat()})")
    return found.astimezone(UTC)


def choice(values: Mapping[str, Any], column: str, choices: Sequence[str], default: str | None = None) -> str:
    """Return a column's text, one of `choices`.

    Raises:
        RowRefused: it is missing or none of them.
    """
    found = text(values, column, default)
    if found not in choices:
        raise RowRefused(f"`{column}` is {found[:64]!r}; it must be one of {', '.join(choices)}")
    return found
