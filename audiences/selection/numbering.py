"""Giving each user the number by which bitmaps know it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from audiences.selection import repository
from storage.engine import Database
from storage.pace import Pace
from storage.writer import TURN_ROWS

# Users that are looked for at a time.
_READ = 20 * TURN_ROWS


class Numberer:
    """Numbers users who have no number yet. Used by one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pace = Pace(TURN_ROWS)

    def number_all(self, beat: Callable[[], None] = lambda: None) -> None:
        """Give every user a number; `beat` is called now and then."""
        after = ""
        while True:
            with self._database.read() as connection:
                some = repository.unnumbered(connection, _READ, after=after)
            if not some:
                return
            self._pace.write(self._database, some, _number)
            after = some[-1]
            beat()


def _number(connection: Connection, user_ids: Sequence[str]) -> int:
    repository.number_users(connection, user_ids)
    return len(user_ids)
