"""Erasure of one user: the facts stay countable and evaluations valid, but nobody is to be found in them.

Each fact keeps its kind, label and times. Its body becomes a tombstone with the numbers that evaluations
need, its user a random pseudonym, the same in all facts of one erasure, so that intervals can go on
grouping by user.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from storage import ledger
from storage.engine import Database
from storage.errors import StorageError
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.schema import erasures, facts
from storage.statements import Statement
from storage.writer import TURN_ROWS

ERASED_LABEL = "user_erased"
# One row of a turn keeps how far the erasure has come.
_PIECE_ROWS = TURN_ROWS - 1

# What a tombstone keeps of a body. Not a decision's draw and request key: the draw is a hash that also
# covers the user id, and who knows the key could find the user by trying.
_OF_ARM = ("decision_id", "placement", "decided_at", "policy", "playbook")
_OF_DRAW = ("library", "suppressed", "arms", "scores", "weights", "probabilities", "chosen", "propensity")
_OF_ANSWER = ("playbook_version", "refused_by", "fallback")
_KEPT: Mapping[Kind, frozenset[str]] = {
    Kind.DECISION: frozenset({*_OF_ARM, *_OF_DRAW, *_OF_ANSWER}),
    Kind.REWARD: frozenset({*_OF_ARM, "arm", "acts", "value"}),
}
# Names whose value must go but that readers expect.
_NULLED: Mapping[Kind, frozenset[str]] = {Kind.REWARD: frozenset({"outcome"})}

_REPLACE = Statement(
    update(facts)
    .where(facts.c.seq == bindparam("number"))
    .values(
        {"id": bindparam("new_id"), "user_id": bindparam("pseudonym"), "body": bindparam("tombstone")},
    )
)


class UserUnknown(StorageError):
    """There is nothing to erase."""

    status = 404
    code = "user-unknown"


class Erased(NamedTuple):
    """What an erasure did: how many facts it changed, and the user's new name in them."""

    pseudonym: str
    facts: int


def erase(database: Database, user_id: str, now: datetime) -> Erased:
    """Replace the bodies of a user's facts by tombstones, and the user by a random pseudonym.

    In pieces through the writer; when interrupted, call it again and it goes on under the same pseudonym.
    Leaves a change fact that says how many facts there were, not whose. Facts that are being recorded
    meanwhile are found, those recorded after it ended are not: stop taking the user's events first.

    Raises:
        UserUnknown: no fact tells of this user.
    """
    begun = database.write(lambda connection: _begin(connection, user_id))
    if begun is None:
        raise UserUnknown(f"no fact tells of user {user_id!r}; nothing was erased: check the id")
    while True:
        done = database.write(lambda connection: _piece(connection, user_id, begun, now), rows=TURN_ROWS)
        if done is not None:
            return Erased(begun, done)


def tombstone(kind: Kind, body: str) -> str:
    """Return what is left of a body of a kind, as JSON."""
    decoded = msgspec.json.decode(body)
    left: dict[str, Any] = {"erased": True}
    if isinstance(decoded, dict):
        kept, nulled = _KEPT.get(kind, frozenset()), _NULLED.get(kind, frozenset())
        left |= {name: value for name, value in decoded.items() if name in kept}
        left |= dict.fromkeys(name for name in decoded if name in nulled)
    return msgspec.json.encode(left).decode()


def _begin(connection: Connection, user_id: str) -> str | None:
    """Return the pseudonym of the erasure that is under way, or begin one; None if there is nothing to do."""
    under_way = select(erasures.c.pseudonym).where(erasures.c.user_id == user_id)
    known: str | None = connection.execute(under_way).scalar()
    if known is not None:
        return known
    if connection.execute(select(facts.c.seq).where(facts.c.user_id == user_id).limit(1)).first() is None:
        return None
    pseudonym = f"erased-{uuid4()}"
    connection.execute(insert(erasures).values(user_id=user_id, pseudonym=pseudonym, facts=0))
    return pseudonym


def _piece(connection: Connection, user_id: str, pseudonym: str, now: datetime) -> int | None:
    """Erase the next facts; once none are left, end the erasure and return how many there were."""
    if connection.dialect.name == "sqlite":
        # Otherwise the old bodies stay readable in the file's free space.
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
    query = select(facts.c.seq, facts.c.kind, facts.c.id, facts.c.body).where(facts.c.user_id == user_id)
    rows = connection.execute(query.limit(_PIECE_ROWS)).all()
    _REPLACE.run_many(
        connection,
        [
            {
                "number": seq,
                "new_id": _without(fact_id, user_id, pseudonym),
                "pseudonym": pseudonym,
                "tombstone": tombstone(Kind(kind), body),
            }
            for seq, kind, fact_id, body in rows
        ],
    )
    this = erasures.c.user_id == user_id
    if rows:
        connection.execute(update(erasures).where(this).values(facts=erasures.c.facts + len(rows)))
        return None
    ended = connection.execute(delete(erasures).where(this).returning(erasures.c.facts)).scalar()
    if ended is None:
        return 0
    change = NewFact(Kind.CHANGE, new_id(now), ERASED_LABEL, None, now, {"facts": ended})
    ledger.append(connection, [change], now)
    return int(ended)


def _without(fact_id: str, user_id: str, pseudonym: str) -> str:
    """Return a fact's id with the user's replaced, where that is all of it or a part between colons."""
    return re.sub(rf"(?<![^:]){re.escape(user_id)}(?![^:])", pseudonym, fact_id)
