"""Erasure of a person: nothing that is kept tells of them any more, and evaluations stay valid.

Every room names the places where it keeps something of users (`Rows` of tables, `Outside` of the database).
An erasure goes through all of them, in pieces through the writer, and notes how far it has come: one that was
interrupted is called again and goes on. Facts of the ledger stay as tombstones (`storage.tombstones`);
everywhere else what is a person's goes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import structlog
from sqlalchemy import Connection, Table, delete, insert, or_, select, tuple_, update

from storage import ledger
from storage.engine import Database
from storage.errors import StorageError
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.pace import Pace
from storage.schema import erasures
from storage.writer import TURN_ROWS

_log = structlog.get_logger(__name__)

ERASED_LABEL = "user_erased"
# One row of a turn keeps how far the erasure has come.
_PIECE_ROWS = TURN_ROWS - 1
# What is written of the person while an erasure is under way is found when it goes round again.
_ROUNDS = 3
# How long an erasure waits for those who use the log.
_SETTLE_SECONDS = 10.0
_PREFIX = "erased-"
_PSEUDONYM = re.compile(_PREFIX + r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class UserUnknown(StorageError):
    """There is nothing to erase."""

    status = 404
    code = "user-unknown"


class ErasureUnfinished(StorageError):
    """Something of the person is in use; what was erased so far stays so."""

    status = 503
    code = "erasure-unfinished"
    retry = True


class Erasing(NamedTuple):
    """One user id that is being erased, and the name that stands for it in what stays."""

    user_id: str
    pseudonym: str
    now: datetime


class Rows(NamedTuple):
    """A place in the database: `erase` takes at most so many rows and returns how many; 0: none are left."""

    name: str
    tables: Sequence[Table]
    erase: Callable[[Connection, Erasing, int], int]


class Outside(NamedTuple):
    """A place outside the database: `erase` takes all of these user ids and returns how much there was.

    Called again after an interruption, and safe to be.
    """

    name: str
    erase: Callable[[Sequence[str]], int]


Place = Rows | Outside


class Erased(NamedTuple):
    """What an erasure did: the person's name in what stays, and how much was changed or went, by place."""

    pseudonym: str
    places: dict[str, int]


def erase(database: Database, places: Sequence[Place], user_ids: Sequence[str], now: datetime) -> Erased:
    """Erase one person, under all of the ids they are known by, from all places.

    Leaves a change fact that says how much there was, not whose. What is being recorded meanwhile is found,
    what is recorded after it ended is not: stop sending the person's events first.

    Raises:
        UserUnknown: no place knows any of these ids.
        ErasureUnfinished: something is in use; call it again later.
    """
    named = list(dict.fromkeys(user_ids))
    pseudonym, ids = database.write(lambda connection: _begin(connection, named), rows=len(named))
    for _ in range(_ROUNDS):
        if not sum(_take(database, place, ids, pseudonym, now) for place in places):
            break
    counts = database.write(lambda connection: _end(connection, ids, now), rows=len(ids) + 1)
    _settle(database)
    if not counts:
        raise UserUnknown(
            f"nothing is known of user {', '.join(map(repr, ids))}; nothing was erased: check the id"
        )
    return Erased(pseudonym, {place.name: counts.get(place.name, 0) for place in places})


def is_pseudonym(user_id: str) -> bool:
    """Say whether a user id stands for somebody erased."""
    return user_id.startswith(_PREFIX) and _PSEUDONYM.fullmatch(user_id) is not None


def deleted_from(*tables: Table) -> Sequence[Rows]:
    """Return places whose rows go, by their column `user_id`, each under its table's name."""
    return [Rows(table.name, [table], partial(_delete, table)) for table in tables]


def _delete(table: Table, connection: Connection, whom: Erasing, limit: int) -> int:
    key = list(table.primary_key)
    piece = select(*key).where(table.c.user_id == whom.user_id).limit(limit)
    return connection.execute(delete(table).where(tuple_(*key).in_(piece))).rowcount


def _take(database: Database, place: Place, ids: Sequence[str], pseudonym: str, now: datetime) -> int:
    if isinstance(place, Outside):
        taken = place.erase(ids)
        if taken:
            database.write(lambda connection: _count(connection, ids[0], place.name, taken))
        return taken
    total, pace = 0, Pace(_PIECE_ROWS)
    for user_id in ids:
        whom = Erasing(user_id, pseudonym, now)
        some = partial(_turn, pace=pace, place=place, whom=whom)
        while taken := database.write(some, rows=TURN_ROWS):
            total += taken
    return total


def _turn(connection: Connection, pace: Pace, place: Rows, whom: Erasing) -> int:
    return pace.turn(connection, partial(_piece, connection, place, whom))[1]


def _piece(connection: Connection, place: Rows, whom: Erasing, limit: int) -> tuple[int, int]:
    if connection.dialect.name == "sqlite":
        # Otherwise the old rows stay readable in the file's free space.
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
    taken = place.erase(connection, whom, limit)
    if taken:
        _count(connection, whom.user_id, place.name, taken)
    return taken, taken


def _begin(connection: Connection, named: Sequence[str]) -> tuple[str, list[str]]:
    """Begin an erasure, or go on with one under way for any of these ids: its pseudonym and all ids."""
    query = select(erasures.c.pseudonym).where(erasures.c.user_id.in_(named))
    pseudonym = connection.execute(query.order_by(erasures.c.pseudonym)).scalars().first()
    pseudonym = pseudonym or f"{_PREFIX}{uuid4()}"
    same = select(erasures.c.user_id).where(
        or_(erasures.c.pseudonym == pseudonym, erasures.c.user_id.in_(named))
    )
    known = sorted(connection.execute(same).scalars())
    new = [one for one in named if one not in known]
    if new:
        rows = [{"user_id": one, "pseudonym": pseudonym, "places": "{}"} for one in new]
        connection.execute(insert(erasures), rows)
    return pseudonym, known + new


def _count(connection: Connection, user_id: str, place: str, number: int) -> None:
    this = erasures.c.user_id == user_id
    kept = connection.execute(select(erasures.c.places).where(this).with_for_update()).scalar()
    # None: another erasure of the same user, at the same time, has come to its end.
    if kept is not None:
        counts: dict[str, int] = msgspec.json.decode(kept)
        counts[place] = counts.get(place, 0) + number
        connection.execute(update(erasures).where(this).values(places=msgspec.json.encode(counts).decode()))


def _settle(database: Database) -> None:
    """Let SQLite bring its file up to date and empty its log, where old rows stay readable."""
    if not database.is_sqlite:
        return
    until = time.monotonic() + _SETTLE_SECONDS
    with database.read() as connection:
        # Busy is also who meets the thread that takes the log over meanwhile (`storage.checkpoints`).
        while connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar():
            if time.monotonic() > until:
                _log.warning("the database's log is in use and was not emptied; the next erasure does it")
                return
            connection.rollback()
            time.sleep(0.02)


def _end(connection: Connection, ids: Sequence[str], now: datetime) -> dict[str, int]:
    counts: dict[str, int] = {}
    ended = connection.execute(
        delete(erasures).where(erasures.c.user_id.in_(ids)).returning(erasures.c.places)
    )
    for places in ended.scalars():
        for place, number in msgspec.json.decode(places).items():
            counts[place] = counts.get(place, 0) + number
    if counts:
        body: dict[str, Any] = {"places": counts}
        ledger.append(connection, [NewFact(Kind.CHANGE, new_id(now), ERASED_LABEL, None, now, body)], now)
    return counts
