"""How far those have come who follow the ledger: a cursor for each named reader."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, literal, or_, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from storage.ledger_queries import ADVANCE, MOVE, POSITION
from storage.schema import cursors


def position_of(connection: Connection, reader: str) -> int:
    """Return how far a named reader has come: the `seq` of the last fact it took, 0 at the start."""
    found = POSITION.rows(connection, {"of": reader})
    return found[0][0] if found else 0


def position(reader: str) -> ScalarSelect[int]:
    """Return the expression of a named reader's position, null at the start."""
    return select(cursors.c.position).where(cursors.c.reader == reader).scalar_subquery()


def advance(connection: Connection, reader: str, position: int, kinds: Collection[str] = ()) -> None:
    """Record how far a named reader has come, in the transaction that keeps what it made of the facts.

    A cursor never goes back: of two who read the same facts, the slower one changes nothing. Retention
    leaves what the reader has still to take of `kinds`; without any it may be of every kind.
    """
    ADVANCE.run(connection, {"reader": reader, "position": position, "kinds": _joined(kinds)})


def advance_from(
    connection: Connection, reader: str, before: int, position: int, kinds: Collection[str] = ()
) -> bool:
    """Move a named reader from `before` to `position`, unless it is elsewhere by now; returns whether it was.

    For those who read outside the transaction that keeps what they made of the facts: when False they
    must keep nothing, and somebody else has. `kinds` as for `advance`.
    """
    if before == 0:
        connection.execute(_insert_cursor(connection, reader, 0, kinds).on_conflict_do_nothing())
    moved = {"reader": reader, "before": before, "position": position, "kinds": _joined(kinds)}
    return MOVE.run(connection, moved).rowcount == 1


def takes(kind: str) -> ColumnElement[bool]:
    """Return the condition on `cursors` that their reader takes facts of a kind."""
    listed = literal(",") + cursors.c.kinds + literal(",")
    return or_(cursors.c.kinds.is_(None), listed.contains(f",{kind},"))


def _joined(kinds: Collection[str]) -> str | None:
    return ",".join(sorted(kinds)) or None


def _insert_cursor(connection: Connection, reader: str, position: int, kinds: Collection[str]) -> Any:
    dialect_insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    return dialect_insert(cursors).values(reader=reader, position=position, kinds=_joined(kinds))
