"""Telling who came into an audience and who went out: a fact of each user's history, once whatever stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import msgspec
from sqlalchemy import Connection

from audiences.selection import repository
from audiences.selection.bitmaps import to_numbers
from audiences.selection.repository import Untold
from storage import ledger
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.pace import Pace
from storage.writer import TURN_ROWS

# At most in a turn: a change writes a fact and how far it is told.
_PER_TURN = TURN_ROWS // 2


class Membership(msgspec.Struct, frozen=True):
    """Body of the fact that a user entered or left an audience.

    `quiet` says that the user did nothing for it: the audience began, or its definition changed. It starts
    nothing.
    """

    audience: str
    entered: bool
    as_of: datetime
    quiet: bool = False


class Telling:
    """Makes facts of the changes of bitmaps that are live."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pace = Pace(_PER_TURN)

    def tell_all(self, beat: Callable[[], None]) -> None:
        """Tell every change that is not told yet; `beat` is called after each audience."""
        with self._database.read() as connection:
            waiting = repository.untold(connection)
        for one in waiting:
            self._tell(one)
            beat()

    def _tell(self, one: Untold) -> None:
        changes = [(number, True) for number in to_numbers(one.entered).tolist()]
        changes += [(number, False) for number in to_numbers(one.left).tolist()]
        told = [(place, *changed) for place, changed in enumerate(changes)][one.told + 1 :]
        self._pace.write(self._database, told, partial(record, change=one, last=len(changes) - 1))


def record(
    connection: Connection, share: Sequence[tuple[int, int, bool]], *, change: Untold, last: int
) -> int:
    """Tell some of the changes of an evaluation, unless another run did; places count from 0 to `last`."""
    first, end = share[0][0], share[-1][0]
    if not repository.tell(connection, change.audience, change.run, first - 1, None if end == last else end):
        return 0
    # Of who was erased meanwhile nothing is told.
    known = repository.names_of(connection, [number for _, number, _ in share])
    as_of = change.as_of
    facts = [
        NewFact(
            Kind.AUDIENCE,
            new_id(as_of),
            f"{change.audience}.{'entered' if entered else 'left'}",
            known[number],
            as_of,
            Membership(change.audience, entered, as_of, change.quiet),
        )
        for _, number, entered in share
        if number in known
    ]
    ledger.append(connection, facts, as_of)
    return len(facts)
