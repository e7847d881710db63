"""How much background work fits into a turn of the writer.

While people wait for answers a turn of the background should take a millisecond or so and no more; when
nobody does, longer turns get more done. The writer says how long a turn may take, in the connection's
`info`; a `Pace` knows what a row of one kind of work costs, and so how many rows that is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection

from storage.writer import TURN_ROWS, Lane

if TYPE_CHECKING:
    from storage.engine import Database

T = TypeVar("T")
X = TypeVar("X")

# Seconds of a turn while somebody asked lately, and while nobody did.
SHORT_TURN = 0.001
LONG_TURN = 0.02

_SECONDS = "nextplay.turn_seconds"
# Rows of a short and of a long turn before any was done.
_FIRST_GUESS = (5.0, 100.0)
# A turn of so many rows that are written in blocks costs hardly more than one of a single row: where a turn
# costs more by itself than it may, fewer would only make more turns.
A_FEW = 32
# How much one turn may change the next at most, and how strongly it does: one slow turn says little.
_MOST_CHANGE = 2.0
_WEIGHT = 0.5


def allow(connection: Connection, seconds: float) -> None:
    """Say how long the turn that begins on this connection may take."""
    connection.info[_SECONDS] = seconds


class Pace:
    """The pace of one kind of work. Used by one turn at a time, as turns of a connection are.

    What a turn costs without any row is not known, so no cost of a row is kept, but the number of rows that
    filled turns so far.
    """

    def __init__(self, most: int, least: int = 1) -> None:
        """Bound turns.

        Args:
            most: rows of a turn, however fast they are.
            least: of which a turn takes hardly longer than one of a single row.
        """
        self._most, self._least = most, min(least, most)
        self._rows = [max(self._least, min(most, guess)) for guess in _FIRST_GUESS]

    def rows(self, connection: Connection) -> int:
        """Return how many rows the present turn should take; without a limit, the most."""
        seconds: float | None = connection.info.get(_SECONDS)
        if seconds is None:
            return self._most
        long = seconds >= LONG_TURN
        fitting = self._rows[long] * seconds / (LONG_TURN if long else SHORT_TURN)
        return max(self._least, min(self._most, int(fitting)))

    def turn(self, connection: Connection, work: Callable[[int], tuple[int, T]]) -> tuple[bool, T]:
        """Do work on as many rows as fit.

        Args:
            work: given the largest number of rows, does them; returns how many there were, and its result.

        Returns:
            Whether there were as many as asked for, so that more may be left, and the result.
        """
        number = self.rows(connection)
        started = time.perf_counter()
        done, result = work(number)
        self._learn(connection, time.perf_counter() - started, full=done >= number)
        return done >= number, result

    def _learn(self, connection: Connection, took: float, *, full: bool) -> None:
        seconds: float | None = connection.info.get(_SECONDS)
        # A turn that was quick because there was little to do says nothing.
        if seconds is None or not (full or took > seconds):
            return
        change = min(max(seconds / max(took, 1e-9), 1 / _MOST_CHANGE), _MOST_CHANGE) ** _WEIGHT
        long = seconds >= LONG_TURN
        self._rows[long] = min(max(self._rows[long] * change, float(self._least)), float(self._most))

    def write(
        self,
        database: Database,
        items: Sequence[X],
        work: Callable[[Connection, Sequence[X]], int],
        *,
        rows_each: int = 1,
        forced: bool = True,
    ) -> int:
        """Write items in their order, as many in each turn as fit; returns the sum of what `work` returned.

        Each turn is durable by itself, so what is stopped in between must be able to go on from there.

        Args:
            rows_each: rows that an item writes at most.
            forced: each turn is forced to disk (`storage.writer.Writer.submit`).
        """
        turns = self.turns(database, items, work, rows_each=rows_each, forced=forced)
        return sum(result for _, result in turns)

    def until_done(
        self, database: Database, work: Callable[[Connection, int], tuple[int, int]], *, rows_each: int = 1
    ) -> int:
        """Do work, turn after turn, until there is none left; returns the sum of its results.

        Args:
            work: given the largest number of items, does them; returns how many there were, and its result.
        """
        total, more = 0, True
        while more:
            more, result = database.write(
                lambda connection: self.turn(connection, partial(work, connection)),
                rows=rows_each * self._most,
            )
            total += result
        return total

    def turns(
        self,
        database: Database,
        items: Sequence[X],
        work: Callable[[Connection, Sequence[X]], T],
        *,
        rows_each: int = 1,
        lane: Lane = Lane.BACKGROUND,
        forced: bool = True,
    ) -> Iterator[tuple[Sequence[X], T]]:
        """Write as `write` does; gives the items of each turn, and what `work` returned, once it is durable.

        Args:
            rows_each: rows that an item writes at most.
        """
        while items:
            rows = min(TURN_ROWS, rows_each * min(self._most, len(items)))
            done, result = database.write(self._some(items, work), rows=rows, lane=lane, forced=forced)
            yield items[:done], result
            items = items[done:]

    def _some(
        self, items: Sequence[X], work: Callable[[Connection, Sequence[X]], T]
    ) -> Callable[[Connection], tuple[int, T]]:
        def write(connection: Connection) -> tuple[int, T]:
            def some(limit: int) -> tuple[int, tuple[int, T]]:
                share = items[:limit]
                return len(share), (len(share), work(connection, share))

            return self.turn(connection, some)[1]

        return write
