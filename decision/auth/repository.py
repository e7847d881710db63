"""SQL of keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update

from decision.auth.models import Key, Scope, ordered
from decision.auth.tables import api_keys

# Names the lock under which a first key is made, so that of two processes that start together one does.
_FIRST_KEY = 0x6E706B31


def lock_first(connection: Connection) -> None:
    """Let one transaction at a time look whether there are keys and add one."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_FIRST_KEY)))


def is_empty(connection: Connection) -> bool:
    """Whether there never was a key."""
    return connection.execute(select(api_keys.c.id).limit(1)).first() is None


def add(connection: Connection, key: Key) -> None:
    """Keep a new key."""
    row = {name: getattr(key, name) for name in Key.__struct_fields__}
    connection.execute(insert(api_keys).values(row | {"scopes": " ".join(ordered(key.scopes))}))


def get(connection: Connection, key_id: str) -> Key | None:
    """Return a key by its id, or None. On Postgres nobody else changes it before this transaction ends."""
    row = connection.execute(select(api_keys).where(api_keys.c.id == key_id).with_for_update()).first()
    return None if row is None else _key(row)


def successor(connection: Connection, key_id: str) -> str | None:
    """Return the id of the key that a key was rotated into, or None."""
    found: str | None = connection.execute(
        select(api_keys.c.id).where(api_keys.c.rotated_from == key_id)
    ).scalar()
    return found


def all_keys(connection: Connection) -> list[Key]:
    """Return every key there ever was, oldest first."""
    return [
        _key(row)
        for row in connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
    ]


def end_at(connection: Connection, key_id: str, moment: datetime) -> None:
    """Let a key expire at a moment."""
    connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(expires_at=moment))


def revoke(connection: Connection, key_id: str, now: datetime) -> None:
    """Take a key back."""
    connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=now))


def used(connection: Connection, key_id: str, now: datetime) -> None:
    """Remember that a key was used, unless a later use is known."""
    earlier = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < now)
    connection.execute(update(api_keys).where(api_keys.c.id == key_id, earlier).values(last_used_at=now))


def _key(row: Any) -> Key:
    values = dict(row._mapping)
    # A newer release may know more scopes; what this one does not know it can't grant.
    known = frozenset(Scope(name) for name in values["scopes"].split() if name in set(Scope))
    return Key(**values | {"scopes": known, "hash": bytes(values["hash"])})
