"""SQL of what evaluations said."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select, update

from learning.challengers.estimates import Estimate
from learning.tables import estimate_claims
from storage.upserts import insert_into


def keep(connection: Connection, new: Estimate) -> None:
    """Keep what an evaluation said, unless it was said before."""
    row = {
        "id": new.id,
        "digest": new.digest,
        "policy": new.policy,
        "at": new.at,
        "body": msgspec.json.encode(new).decode(),
        "settled": False,
    }
    connection.execute(insert_into(connection, estimate_claims).values(row).on_conflict_do_nothing())


def settle(connection: Connection, done: Estimate) -> None:
    """Keep what came of it, or why that will never be known."""
    body = msgspec.json.encode(done).decode()
    this = estimate_claims.c
    connection.execute(update(estimate_claims).where(this.id == done.id).values(body=body, settled=True))


def waiting(connection: Connection) -> list[Estimate]:
    """Return what is not settled yet, the first one first."""
    this = estimate_claims.c
    query = select(this.body).where(this.settled.is_(False)).order_by(this.at, this.id)
    return [_read(body) for body in connection.execute(query).scalars()]


def newest(
    connection: Connection, policy: str | None = None, *, before: str | None = None, limit: int = 1_000
) -> list[Estimate]:
    """Return what was said last, of one policy or of all, the newest first; `before` an id goes on."""
    this = estimate_claims.c
    query = select(this.body).order_by(this.id.desc()).limit(limit)
    if policy is not None:
        query = query.where(this.policy == policy)
    if before is not None:
        query = query.where(this.id < before)
    return [_read(body) for body in connection.execute(query).scalars()]


def _read(body: str) -> Estimate:
    return msgspec.json.decode(body, type=Estimate)
