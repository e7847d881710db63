"""The order of facts: numbers that a reader can follow without missing any.

A reader remembers one number and asks for what lies above it, so no fact may ever appear below a number
that was read already. On SQLite one writer commits at a time, and numbers handed out in turn are in the
order of commits. On Postgres transactions commit in any order, therefore a fact's number is made of its
transaction's id and its place within the transaction:

    seq = (pg_current_xact_id() + base) * 2**20 + place

and readers stop below the oldest transaction that still runs (`pg_snapshot_xmin`): whatever has a lower
id has ended, and ids are never given again. Every comparison of two `seq` thus means what it means on
SQLite. The price: facts show up to readers only when all transactions that began before theirs have
ended, whatever these write and in whichever database of the server (docs/decisions/0006).

`base` is 0 until a dump is restored on a server whose transaction ids are lower than those in the dump;
the first append of a connection notices and raises it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    RootTransaction,
    Text,
    cast,
    func,
    literal,
    select,
    true,
    update,
)

from storage.errors import StorageError
from storage.schema import facts, ledger_base

# Numbers that tell the facts of one transaction apart; 63 bits then last for 8.8e12 transactions.
PLACES = 2**20

_BASE = "nextplay.base"
_NUMBERED = "nextplay.numbered"


class TransactionTooLarge(StorageError):
    """One transaction recorded more facts than it can number."""

    status = 413
    code = "transaction-too-large"


class _Numbered(NamedTuple):
    """How many facts a transaction has numbered, from which base."""

    transaction: RootTransaction
    base: int
    places: int


def numbers_itself(connection: Connection) -> bool:
    """Whether the database hands out numbers in the order of commits, as SQLite does."""
    return connection.dialect.name == "sqlite"


def number(base: ColumnElement[int], place: ColumnElement[int]) -> ColumnElement[int]:
    """Return the expression of a fact's number on Postgres, from what `places` gives."""
    return (_xid(func.pg_current_xact_id()) + base) * literal(PLACES, BigInteger()) + place


def places(connection: Connection, rows: int) -> tuple[int, range]:
    """Return the base and the places of the next facts of the running transaction (Postgres).

    Raises:
        TransactionTooLarge: a transaction of more than 1,048,576 facts.
    """
    transaction = connection.get_transaction() or connection.begin()
    known: _Numbered | None = connection.info.get(_NUMBERED)
    if known is None or known.transaction is not transaction:
        known = _Numbered(transaction, _base(connection), 0)
    end = known.places + rows
    if end > PLACES:
        raise TransactionTooLarge(
            f"a transaction may record {PLACES} facts, not {end}: write them in pieces; nothing was written"
        )
    connection.info[_NUMBERED] = known._replace(places=end)
    return known.base, range(known.places, end)


def settled(connection: Connection) -> ColumnElement[bool]:
    """Return the condition on `facts` that no fact can appear below this one any more."""
    if numbers_itself(connection):
        return true()
    oldest = _xid(func.pg_snapshot_xmin(func.pg_current_snapshot()))
    end = select((oldest + ledger_base.c.base) * literal(PLACES, BigInteger())).scalar_subquery()
    # A sum, so that the planner does not take `seq` for bounded on both sides: it would expect next to
    # nothing in between and read and sort all that lies above the reader instead of the next page.
    return facts.c.seq + 0 < end


def settled_head(connection: Connection) -> int:
    """Return the number of the last fact below which none can appear any more, 0 when there is none.

    Whoever finds nothing of theirs in what they read afterwards may move on to it.
    """
    query = select(facts.c.seq).where(settled(connection)).order_by(facts.c.seq.desc()).limit(1)
    return connection.execute(query).scalar() or 0


def _base(connection: Connection) -> int:
    """Return what this server adds to its transaction ids, looked up once for each connection."""
    known: int | None = connection.info.get(_BASE)
    if known is not None:
        return known
    base, needed = _bases(connection)
    if needed <= base:
        connection.info[_BASE] = base
        return base
    connection.execute(select(ledger_base.c.base).with_for_update())
    base, needed = _bases(connection)
    if needed > base:
        # Not remembered on the connection: this transaction may still be rolled back.
        connection.execute(update(ledger_base).values(base=needed))
    return max(base, needed)


def _bases(connection: Connection) -> tuple[int, int]:
    """Return the base in use and the one that puts every running transaction above the recorded facts.

    Facts recorded on this server come from ids below the snapshot's xmax; if one has a higher number, it
    was recorded on another server. (The largest number is looked up by itself, so that its index is used.)
    """
    snapshot = func.pg_current_snapshot()
    largest = select(func.max(facts.c.seq)).scalar_subquery()
    query = select(
        ledger_base.c.base,
        largest,
        _xid(func.pg_snapshot_xmin(snapshot)),
        _xid(func.pg_snapshot_xmax(snapshot)),
    )
    base, newest, oldest, next_id = connection.execute(query).one()
    highest = (newest or 0) // PLACES
    return base, base if highest < next_id + base else highest + 1 - oldest


def _xid(of: ColumnElement[Any]) -> ColumnElement[int]:
    # xid8 has no direct cast to a number.
    return cast(cast(of, Text), BigInteger)
