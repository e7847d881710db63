"""SQL of the epochs that counters outside the database are in (see `playbooks.counters.epochs`)."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex

from sqlalchemy import Connection, Integer, bindparam, cast, delete, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from playbooks.tables import counter_epochs
from storage.statements import Statement

# The first of two keys of advisory locks, so that shards never meet other locks of one key.
_EPOCHS_LOCK = 0x6E70

_EPOCH = Statement(select(counter_epochs.c.token).where(counter_epochs.c.shard == bindparam("shard")))


def token_of(connection: Connection, shard: int) -> str | None:
    """Return the token of a shard's epoch, None when it never had one."""
    token: str | None = _EPOCH.run(connection, {"shard": shard}).scalar()
    return token


def hold_epoch(connection: Connection, shard: int) -> str | None:
    """Return the token of a shard's epoch, which then stays until the end of the transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock_shared(_EPOCHS_LOCK, shard)))
    return token_of(connection, shard)


def hold_epochs(connection: Connection, shards: Sequence[int]) -> dict[int, str]:
    """Return the tokens of shards, which must be in order, by shard; they stay as `hold_epoch` says."""
    if connection.dialect.name == "postgresql":
        each = func.unnest(cast(list(shards), ARRAY(Integer))).column_valued("shard")
        connection.execute(select(func.pg_advisory_xact_lock_shared(_EPOCHS_LOCK, each))).all()
    query = select(counter_epochs.c.shard, counter_epochs.c.token).where(counter_epochs.c.shard.in_(shards))
    return {int(shard): str(token) for shard, token in connection.execute(query)}


def begin_epoch(connection: Connection, shard: int, before: str | None) -> str | None:
    """Begin a new epoch of a shard unless `before` is not the token any more; returns the new token.

    None when another was faster, or while transactions hold the epoch that is to end.
    """
    if connection.dialect.name == "postgresql":
        lock = select(func.pg_try_advisory_xact_lock(_EPOCHS_LOCK, shard))
        if not connection.execute(lock).scalar():
            return None
    if token_of(connection, shard) != before:
        return None
    token = token_hex(8)
    upsert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    connection.execute(
        upsert(counter_epochs)
        .values(shard=shard, token=token)
        .on_conflict_do_update(index_elements=["shard"], set_={"token": token})
    )
    return token


def end_epochs(connection: Connection) -> None:
    """Let no shard have an epoch: whatever was counted outside the database is void."""
    if connection.dialect.name == "postgresql":
        for (shard,) in connection.execute(select(counter_epochs.c.shard).order_by(counter_epochs.c.shard)):
            connection.execute(select(func.pg_advisory_xact_lock(_EPOCHS_LOCK, shard)))
    connection.execute(delete(counter_epochs))


def end_epochs_of(connection: Connection, shards: Sequence[int]) -> None:
    """Let these shards, which must be in order, have no epoch; waits for transactions that hold one."""
    if connection.dialect.name == "postgresql":
        for shard in shards:
            connection.execute(select(func.pg_advisory_xact_lock(_EPOCHS_LOCK, shard)))
    connection.execute(delete(counter_epochs).where(counter_epochs.c.shard.in_(shards)))


def has_epochs(connection: Connection) -> bool:
    """Whether counters were kept outside the database."""
    return connection.execute(select(counter_epochs.c.shard).limit(1)).first() is not None
