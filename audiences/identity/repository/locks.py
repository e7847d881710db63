"""Who may look at and change what is known of names, one transaction at a time (Postgres)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from zlib import crc32

from sqlalchemy import ARRAY, Connection, Integer, func, literal, select

# Advisory locks on Postgres: any number that nobody else uses, and how many keys share a lock. Few enough
# that a turn of new names does not fill the server's table of locks.
_LOCKS = 0x6E70_6964
_BUCKETS = 128
# Taken last, by whoever joins or takes apart.
_JOINING = _BUCKETS


def lock(connection: Connection, keys: Collection[str]) -> None:
    """Let one transaction at a time look at and change what is known of these names (Postgres)."""
    _hold(connection, sorted({crc32(key.encode()) % _BUCKETS for key in keys}))


def lock_joining(connection: Connection) -> None:
    """Let one transaction at a time join or take apart; to be taken after `lock`, never before."""
    _hold(connection, [_JOINING])


def _hold(connection: Connection, buckets: Sequence[int]) -> None:
    if buckets and connection.dialect.name == "postgresql":
        # One after the other, in the order of the list.
        numbers = func.unnest(literal(list(buckets), ARRAY(Integer))).column_valued("number")
        connection.execute(select(func.pg_advisory_xact_lock(_LOCKS, numbers)))
