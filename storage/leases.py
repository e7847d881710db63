"""Leases: one process at a time does what must not be done twice, and one that lost its turn can't write.

A lease is a row with a holder, an end and a token. It ends by itself unless renewed, and whoever takes it
next gets a larger token. Time is real time, never the service's clock: the database's own on Postgres, so
that machines need not agree, and the machine's on SQLite, whose file belongs to one process anyway.

A process that stood still for longer than its lease does not notice by itself. So writes under a lease go
through a `Fence`, which checks the token in the transaction of the write: a takeover waits for that
transaction, and a write after a takeover is refused.

StorageError
├── LeaseHeld   another process holds it (retry can help)
└── LeaseLost   it ended and somebody else took it; nothing was written (retry can help)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from copy import copy
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    cast,
    create_engine,
    delete,
    extract,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import BigInteger

from storage.engine import Database
from storage.errors import DatabaseUnavailable, StorageError
from storage.leases_table import leases
from storage.times import MICROSECOND
from storage.writer import Lane, Refusal, Work, Writer

T = TypeVar("T")

# A renewal that takes longer is given up and tried again: an answer after the lease's end helps nobody.
_PATIENCE_SECONDS = 4


class LeaseHeld(StorageError):
    status = 409
    code = "lease-held"
    retry = True


class LeaseLost(StorageError):
    status = 503
    code = "lease-lost"
    retry = True


class Lease(msgspec.Struct, frozen=True):
    """What was leased to whom; `until` is on the monotonic clock, never later than in the database."""

    name: str
    holder: str
    token: int
    until: float

    @property
    def is_current(self) -> bool:
        """Whether it has not ended yet, as far as this process can tell without asking."""
        return time.monotonic() < self.until


class Leases:
    """The leases of one database. Safe to call from any thread."""

    def __init__(self, database: Database) -> None:
        """On Postgres leases get a connection of their own: a long queue of writes must not end them."""
        self._database = database
        self._engine: Engine | None = None
        if not database.is_sqlite:
            self._engine = create_engine(
                database.url,
                pool_size=1,
                max_overflow=1,
                pool_timeout=_PATIENCE_SECONDS,
                pool_pre_ping=True,
                connect_args={
                    "connect_timeout": _PATIENCE_SECONDS,
                    "tcp_user_timeout": _PATIENCE_SECONDS * 1000,
                    "options": f"-c statement_timeout={_PATIENCE_SECONDS}s",
                },
            )

    def acquire(self, name: str, holder: str, ttl: timedelta) -> Lease | None:
        """Take a lease that is free or has ended; None when somebody holds it, also the same holder.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        started = time.monotonic()
        token = self._run(lambda connection: _acquire(connection, name, holder, ttl))
        return None if token is None else Lease(name, holder, token, started + ttl.total_seconds())

    def renew(self, lease: Lease, ttl: timedelta) -> Lease:
        """Let a lease last for `ttl` from now; one that ended may still be renewed while nobody took it.

        Raises:
            LeaseLost: somebody took it, or it was given back.
            DatabaseUnavailable: the database does not answer.
        """
        started = time.monotonic()
        if not self._run(lambda connection: _renew(connection, lease, ttl)):
            raise _lost(lease)
        return msgspec.structs.replace(lease, until=started + ttl.total_seconds())

    def release(self, lease: Lease) -> None:
        """Give a lease back, so that another can have it at once; does nothing if it was lost.

        Raises:
            DatabaseUnavailable: the database does not answer; the lease ends by itself.
        """
        given_back = update(leases).where(*_is(lease)).values(holder=None, expires_at=0)
        self._run(lambda connection: connection.execute(given_back))

    def forget(self, lease: Lease) -> None:
        """Give a lease back whose name nobody will use again; its tokens begin anew if somebody does.

        Raises:
            DatabaseUnavailable: the database does not answer; the lease ends by itself.
        """
        self._run(lambda connection: connection.execute(delete(leases).where(*_is(lease))))

    def holder_of(self, name: str) -> str | None:
        """Return who holds a lease now, None when it is free.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """

        def read(connection: Connection) -> str | None:
            query = select(leases.c.holder).where(
                leases.c.name == name, leases.c.expires_at > _now(connection)
            )
            return connection.execute(query).scalar()

        return self._run(read)

    def abandoned(self, prefix: str) -> list[str]:
        """Return the names with this prefix whose lease ended without being given back, in their order.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """

        def read(connection: Connection) -> list[str]:
            query = select(leases.c.name).where(
                leases.c.name.startswith(prefix, autoescape=True),
                leases.c.holder.is_not(None),
                leases.c.expires_at <= _now(connection),
            )
            return list(connection.execute(query.order_by(leases.c.name)).scalars())

        return self._run(read)

    def close(self) -> None:
        """Let go of the connection; leases that are still held end by themselves."""
        if self._engine is not None:
            self._engine.dispose()

    def _run(self, work: Work[T]) -> T:
        if self._engine is None:
            return self._database.write(work, lane=Lane.DECISION)
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            raise DatabaseUnavailable(
                f"the database does not answer ({error.orig}); leases can't be renewed: try again"
            ) from error


def check(connection: Connection, lease: Lease) -> None:
    """Make sure that nobody took the lease, and that nobody does before this transaction ends.

    Raises:
        LeaseLost: somebody took it, or it was given back.
    """
    held = select(leases.c.token).where(*_is(lease)).with_for_update(read=True)
    if connection.execute(held).first() is None:
        raise _lost(lease)


class Fence:
    """A database as one job that needs a lease sees it.

    Every write of `database` checks first, in its own transaction, that the lease the job runs under was not
    lost. After `stop` no write begins any more, so the job ends between two of them.
    """

    def __init__(self, database: Database) -> None:
        """Fence a database, which stays its owner's to close. On SQLite no lease is needed."""
        self.database = copy(database)
        self.database.writer = _FencedWriter(database.writer, self)
        self.needs_lease = not database.is_sqlite
        self.lease: Lease | None = None
        self.stopped = False

    @contextmanager
    def under(self, lease: Lease | None) -> Iterator[None]:
        """Run the block under a lease. One block at a time."""
        self.lease = lease
        try:
            yield
        finally:
            self.lease = None

    def stop(self) -> None:
        """Refuse every write from now on."""
        self.stopped = True


class _FencedWriter:
    def __init__(self, writer: Writer, fence: Fence) -> None:
        self._writer = writer
        self._fence = fence

    @property
    def at_once(self) -> int:
        return self._writer.at_once

    @property
    def refusal(self) -> Refusal | None:
        return self._writer.refusal

    def submit(
        self, work: Work[T], *, rows: int = 1, lane: Lane = Lane.BACKGROUND, forced: bool = True
    ) -> Future[T]:
        if self._fence.stopped:
            raise DatabaseUnavailable("the service is shutting down; the job goes on when it runs again")
        return self._writer.submit(self._fenced(work), rows=rows, lane=lane, forced=forced)

    def close(self) -> None:
        """The writer is closed with its database, not here."""

    def _fenced(self, work: Work[T]) -> Callable[[Connection], T]:
        lease = self._fence.lease
        if lease is None:
            if self._fence.needs_lease:
                raise LeaseLost("a job that needs a lease wrote without one; nothing was written")
            return work

        def checked(connection: Connection) -> T:
            check(connection, lease)
            return work(connection)

        return checked


def _acquire(connection: Connection, name: str, holder: str, ttl: timedelta) -> int | None:
    now = _now(connection)
    # An update whose condition does not hold locks nothing, so those who wait cost the holder nothing.
    taken = (
        update(leases)
        .where(leases.c.name == name, or_(leases.c.holder.is_(None), leases.c.expires_at <= now))
        .values(holder=holder, token=leases.c.token + 1, expires_at=now + ttl // MICROSECOND)
        .returning(leases.c.token)
    )
    token: int | None = connection.execute(taken).scalar()
    if token is not None or connection.execute(select(leases.c.name).where(leases.c.name == name)).first():
        return token
    first = {"name": name, "holder": holder, "token": 1, "expires_at": now + ttl // MICROSECOND}
    if connection.dialect.name == "sqlite":
        return connection.execute(insert(leases).values(first).returning(leases.c.token)).scalar()
    added = postgres_insert(leases).values(first).on_conflict_do_nothing().returning(leases.c.token)
    return connection.execute(added).scalar()


def _renew(connection: Connection, lease: Lease, ttl: timedelta) -> bool:
    longer = update(leases).where(*_is(lease)).values(expires_at=_now(connection) + ttl // MICROSECOND)
    return connection.execute(longer).rowcount == 1


def _is(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (
        leases.c.name == lease.name,
        leases.c.holder == lease.holder,
        leases.c.token == lease.token,
    )


def _now(connection: Connection) -> ColumnElement[Any]:
    """Return real time as microseconds since 1970, by the database's clock where several machines use it."""
    if connection.dialect.name == "sqlite":
        return literal(time.time_ns() // 1_000)
    # `now()` would be the start of the transaction, which may have waited for a lock since.
    return cast(extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"the lease {lease.name!r} of {lease.holder!r} ended and was taken; nothing was written")
