"""Taking rows in: each once, what is wrong is told by its line, the others are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences.errors import RowRefused, UnknownImport
from audiences.importing.port import Importer, RefusedRow, read
from audiences.importing.reader import Row
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.pace import Pace
from storage.writer import TURN_ROWS, Lane

MAX_ROWS = 500


class Imported(msgspec.Struct, frozen=True):
    """What became of rows: how many are recorded now, were recorded before, or were refused and why."""

    recorded: int = 0
    duplicates: int = 0
    refused: list[RefusedRow] = []

    def __add__(self, other: Imported) -> Imported:
        return Imported(
            self.recorded + other.recorded,
            self.duplicates + other.duplicates,
            [*self.refused, *other.refused],
        )


class Imports:
    """Everything that can be imported into one database. Thread-safe."""

    def __init__(self, database: Database, clock: Clock, importers: Mapping[str, Importer[Any]]) -> None:
        self._database = database
        self._clock = clock
        self._importers = importers
        self._paces = {kind: Pace(TURN_ROWS) for kind in importers}

    @property
    def kinds(self) -> list[str]:
        """Names of what can be imported."""
        return list(self._importers)

    def take(self, kind: str, rows: Sequence[Row], lane: Lane = Lane.BACKGROUND) -> Imported:
        """Record rows; durable when it returns. The same rows again are duplicates.

        Raises:
            UnknownImport: there is nothing of that kind.
            RowRefused: there are more than `MAX_ROWS`.
        """
        importer = self._importers.get(kind)
        if importer is None:
            raise UnknownImport(
                f"nothing called {kind[:64]!r} is imported; there are {', '.join(self.kinds)}"
            )
        if len(rows) > MAX_ROWS:
            raise RowRefused(f"{len(rows)} rows at a time are too many: send at most {MAX_ROWS}")
        now = self._clock.now()
        refused: list[RefusedRow] = []
        good: list[tuple[int, Any]] = []
        for row in rows:
            try:
                if row.error:
                    raise RowRefused(row.error)
                good.append((row.line, read(importer, row.values, now)))
            except NextplayError as error:
                refused.append(RefusedRow(row.line, str(error)))
        result = Imported(refused=refused)
        work = partial(_record, importer=importer, now=now)
        for share in _shares(importer, good):
            largest = max(importer.size(row) for _, row in share)
            for some, outcomes in self._paces[kind].turns(
                self._database, share, work, rows_each=largest, lane=lane
            ):
                result += _done(importer, some, outcomes)
        return result


def _record(
    connection: Connection, share: Sequence[tuple[int, Any]], importer: Importer[Any], now: datetime
) -> Sequence[bool | str]:
    return importer.record(connection, [row for _, row in share], now)


def _done(
    importer: Importer[Any], share: Sequence[tuple[int, Any]], outcomes: Sequence[bool | str]
) -> Imported:
    """Say what became of rows that are durable."""
    recorded = [row for (_, row), outcome in zip(share, outcomes, strict=True) if outcome is True]
    importer.recorded(recorded)
    return Imported(
        len(recorded),
        sum(outcome is False for outcome in outcomes),
        [
            RefusedRow(line, outcome)
            for (line, _), outcome in zip(share, outcomes, strict=True)
            if isinstance(outcome, str)
        ],
    )


def _shares(importer: Importer[Any], rows: Sequence[tuple[int, Any]]) -> Iterator[list[tuple[int, Any]]]:
    """Yield the rows in shares that each fit a turn of the writer."""
    share: list[tuple[int, Any]] = []
    size = 0
    for line, row in rows:
        if share and size + importer.size(row) > TURN_ROWS:
            yield share
            share, size = [], 0
        share.append((line, row))
        size += importer.size(row)
    if share:
        yield share
