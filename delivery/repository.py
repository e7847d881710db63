"""SQL of delivery: enrolments and the outbox. Every function works in its caller's transaction.

A claim locks what it returns: on Postgres rows that another claim holds are skipped, on SQLite there is one
writer. All writes are of many rows at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, func, insert, select, update

from delivery.models import Enrolment, MessageState, Status
from delivery.tables import enrolments, outbox
from playbooks.models import Arm
from storage import ledger
from storage.statements import Statement, defer
from storage.times import to_micros


class Queued(msgspec.Struct, frozen=True, gc=False):
    """A message in the outbox. `holder` is set while a relay hands it over, until `available_at`."""

    key: str
    enrolment_id: str
    queued_at: datetime
    attempts: int
    holder: str | None


class Settled(msgspec.Struct, frozen=True, gc=False):
    """What an outbox row becomes; it is tried again at `available_at` unless that is None.

    `holder` is whose attempt at it was never recorded, where that is still to be seen.
    """

    key: str
    state: MessageState
    available_at: datetime | None = None
    reason: str | None = None
    holder: str | None = None


# enrolments


def add_enrolments(connection: Connection, new: Sequence[Enrolment]) -> None:
    """Record enrolments whose ids are fresh, at the end of the writer's turn."""
    rows = [
        _state_of(one)
        | {
            "id": one.id,
            "user_id": one.user_id,
            "playbook": one.playbook,
            "playbook_version": one.playbook_version,
            "decision_id": one.decision_id,
            "arm": msgspec.json.encode(one.arm).decode(),
        }
        for one in new
    ]
    defer(connection, _ADD_ENROLMENT, rows)


def claim_due(connection: Connection, now: datetime, limit: int) -> list[Enrolment]:
    """Return and lock the active enrolments whose time is up, longest overdue first."""
    query = (
        select(enrolments)
        .where(enrolments.c.due_at <= now)
        .order_by(enrolments.c.due_at, enrolments.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_enrolment(row) for row in connection.execute(query)]


def claim_of_users(connection: Connection, user_ids: Sequence[str]) -> list[Enrolment]:
    """Return and lock all active enrolments of at most a turn's users, in the order of their ids."""
    query = (
        select(enrolments)
        .where(enrolments.c.user_id.in_(user_ids), enrolments.c.due_at.is_not(None))
        .order_by(enrolments.c.id)
        .with_for_update()
    )
    return [_enrolment(row) for row in connection.execute(query)]


def save_enrolments(connection: Connection, changed: Sequence[Enrolment]) -> None:
    """Write the present state of enrolments that were claimed in this transaction."""
    _SAVE_ENROLMENT.run_many(connection, [_state_of(one) | {"this": one.id} for one in changed])


def get_enrolment(connection: Connection, enrolment_id: str) -> Enrolment | None:
    """Return an enrolment by its id, or None."""
    row = connection.execute(select(enrolments).where(enrolments.c.id == enrolment_id)).first()
    return None if row is None else _enrolment(row)


def enrolments_of(connection: Connection, ids: Sequence[str]) -> dict[str, Enrolment]:
    """Return enrolments by id."""
    query = select(enrolments).where(enrolments.c.id.in_(ids))
    return {row.id: _enrolment(row) for row in connection.execute(query)}


def enrolments_of_user(connection: Connection, user_id: str, limit: int) -> dict[str, str]:
    """Return and lock enrolments of a user, whatever became of them: the channel of each by its id."""
    query = select(enrolments.c.id, enrolments.c.arm).where(enrolments.c.user_id == user_id)
    rows = connection.execute(query.order_by(enrolments.c.id).limit(limit).with_for_update())
    return {row.id: _arm(row.arm).channel for row in rows}


def hold_reader(connection: Connection, reader: str) -> int | None:
    """Return a ledger reader's position and keep it until the transaction ends; None if another holds it."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(blake2b(reader.encode(), digest_size=8).digest(), signed=True)
        if not connection.execute(select(func.pg_try_advisory_xact_lock(key))).scalar():
            return None
    return ledger.position_of(connection, reader)


# the outbox


def queue(connection: Connection, messages: Sequence[Queued]) -> None:
    """Put messages into the outbox, to be handed over at once, at the end of the writer's turn."""
    rows = [
        {
            "key": one.key,
            "enrolment_id": one.enrolment_id,
            "queued_at": (queued_at := to_micros(one.queued_at)),
            "available_at": queued_at,
            "attempts": one.attempts,
            "state": MessageState.QUEUED.value,
        }
        for one in messages
    ]
    defer(connection, _QUEUE, rows)


def claim_messages(connection: Connection, now: datetime, limit: int) -> list[Queued]:
    """Return and lock the messages whose next attempt may begin, longest waiting first."""
    query = (
        _queued()
        .where(outbox.c.available_at <= now)
        .order_by(outbox.c.available_at, outbox.c.key)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [Queued(*row) for row in connection.execute(query)]


def lease(connection: Connection, claimed: Sequence[Queued], holder: str, until: datetime) -> list[Queued]:
    """Begin an attempt at each of these messages; return them as they are now."""
    held = [Queued(one.key, one.enrolment_id, one.queued_at, one.attempts + 1, holder) for one in claimed]
    micros = to_micros(until)
    _LEASE.run_many(
        connection,
        [{"this": one.key, "attempt": one.attempts, "by": holder, "until": micros} for one in held],
    )
    return held


def let_go(connection: Connection, before: Sequence[Queued], now: datetime) -> None:
    """Take back leases of messages that were not handed over; they are to be taken now, as they were."""
    micros = to_micros(now)
    _LEASE.run_many(
        connection,
        [{"this": one.key, "attempt": one.attempts, "by": one.holder, "until": micros} for one in before],
    )


def still_held(connection: Connection, held: Sequence[Queued]) -> set[str]:
    """Return and lock those of these messages whose attempt is still the one that was leased."""
    query = (
        _queued().where(outbox.c.key.in_([one.key for one in held])).order_by(outbox.c.key).with_for_update()
    )
    attempts = {one.key: (one.holder, one.attempts) for one in held}
    return {
        key for key, _, _, attempt, holder in connection.execute(query) if attempts[key] == (holder, attempt)
    }


def settle(connection: Connection, settled: Sequence[Settled]) -> None:
    """End an attempt: the message is through, or waits for its next attempt."""
    rows = [
        {
            "this": one.key,
            "to_state": one.state.value,
            "next_at": _micros(one.available_at),
            "why": one.reason,
            "whose": one.holder,
        }
        for one in settled
    ]
    _SETTLE.run_many(connection, rows)


def give_back(connection: Connection, holder: str, now: datetime) -> int:
    """Let every lease of a holder end now; return how many there were."""
    statement = (
        update(outbox).where(outbox.c.available_at > now, outbox.c.holder == holder).values(available_at=now)
    )
    return connection.execute(statement).rowcount


_STATE = ("state", "entered_at", "due_at", "waiting_for", "revision", "status", "result")
_ADD_ENROLMENT = Statement(insert(enrolments).values({one.name: bindparam(one.name) for one in enrolments.c}))
_SAVE_ENROLMENT = Statement(
    update(enrolments)
    .where(enrolments.c.id == bindparam("this"))
    .values({name: bindparam(name) for name in _STATE})
)
_QUEUE = Statement(
    insert(outbox).values(
        {
            name: bindparam(name)
            for name in ("key", "enrolment_id", "queued_at", "available_at", "attempts", "state")
        }
    )
)
_LEASE = Statement(
    update(outbox)
    .where(outbox.c.key == bindparam("this"))
    .values(attempts=bindparam("attempt"), holder=bindparam("by"), available_at=bindparam("until"))
)
_SETTLE = Statement(
    update(outbox)
    .where(outbox.c.key == bindparam("this"))
    .values(
        state=bindparam("to_state"),
        available_at=bindparam("next_at"),
        reason=bindparam("why"),
        holder=bindparam("whose"),
    )
)


def _state_of(one: Enrolment) -> dict[str, Any]:
    return {
        "state": one.state,
        "entered_at": to_micros(one.entered_at),
        "due_at": _micros(one.due_at),
        "waiting_for": one.waiting_for,
        "revision": one.revision,
        "status": one.status.value,
        "result": one.result,
    }


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _queued() -> Select[Any]:
    return select(outbox.c.key, outbox.c.enrolment_id, outbox.c.queued_at, outbox.c.attempts, outbox.c.holder)


@lru_cache(maxsize=4_096)
def _arm(body: str) -> Arm:
    return msgspec.json.decode(body, type=Arm)


def _enrolment(row: Sequence[Any]) -> Enrolment:
    (
        enrolment_id,
        user_id,
        playbook,
        version,
        decision_id,
        arm,
        state,
        entered_at,
        due_at,
        waiting_for,
        revision,
        status,
        result,
    ) = row
    return Enrolment(
        enrolment_id,
        user_id,
        playbook,
        version,
        decision_id,
        _arm(arm),
        state,
        entered_at,
        due_at,
        waiting_for,
        revision,
        Status(status),
        result,
    )
