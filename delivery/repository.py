"""SQL of delivery: enrolments, the outbox and the wallet. Every function works in its caller's transaction.

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

from delivery.models import Coupon, Enrolment, MessageState, Status
from delivery.tables import coupons, enrolments, outbox
from playbooks.models import Arm
from storage import ledger


class Queued(msgspec.Struct, frozen=True):
    """A message in the outbox. `holder` is set while a relay hands it over, until `available_at`."""

    key: str
    enrolment_id: str
    queued_at: datetime
    attempts: int
    holder: str | None


class Settled(msgspec.Struct, frozen=True):
    """What an outbox row becomes; it is tried again at `available_at` unless that is None."""

    key: str
    state: MessageState
    available_at: datetime | None = None
    reason: str | None = None


# enrolments


def add_enrolments(connection: Connection, new: Sequence[Enrolment]) -> None:
    """Record enrolments whose ids are fresh."""
    connection.execute(
        insert(enrolments),
        [
            {
                "id": one.id,
                "user_id": one.user_id,
                "playbook": one.playbook,
                "playbook_version": one.playbook_version,
                "decision_id": one.decision_id,
                "arm": msgspec.json.encode(one.arm).decode(),
                "state": one.state,
                "entered_at": one.entered_at,
                "due_at": one.due_at,
                "waiting_for": one.waiting_for,
                "revision": one.revision,
                "status": one.status.value,
                "result": one.result,
            }
            for one in new
        ],
    )


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
    if changed:
        connection.execute(
            _SAVE_ENROLMENT,
            [
                {
                    "this": one.id,
                    "state": one.state,
                    "entered_at": one.entered_at,
                    "due_at": one.due_at,
                    "waiting_for": one.waiting_for,
                    "revision": one.revision,
                    "status": one.status.value,
                    "result": one.result,
                }
                for one in changed
            ],
        )


def get_enrolment(connection: Connection, enrolment_id: str) -> Enrolment | None:
    """Return an enrolment by its id, or None."""
    row = connection.execute(select(enrolments).where(enrolments.c.id == enrolment_id)).first()
    return None if row is None else _enrolment(row)


def enrolments_of(connection: Connection, ids: Sequence[str]) -> dict[str, Enrolment]:
    """Return enrolments by id."""
    query = select(enrolments).where(enrolments.c.id.in_(ids))
    return {row.id: _enrolment(row) for row in connection.execute(query)}


def hold_reader(connection: Connection, reader: str) -> int | None:
    """Return a ledger reader's position and keep it until the transaction ends; None if another holds it."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(blake2b(reader.encode(), digest_size=8).digest(), signed=True)
        if not connection.execute(select(func.pg_try_advisory_xact_lock(key))).scalar():
            return None
    return ledger.position_of(connection, reader)


# the outbox


def queue(connection: Connection, messages: Sequence[Queued]) -> None:
    """Put messages into the outbox, to be handed over at once."""
    if messages:
        connection.execute(
            insert(outbox),
            [
                {
                    "key": one.key,
                    "enrolment_id": one.enrolment_id,
                    "queued_at": one.queued_at,
                    "available_at": one.queued_at,
                    "attempts": one.attempts,
                    "state": MessageState.QUEUED.value,
                }
                for one in messages
            ],
        )


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
    if held:
        connection.execute(
            _LEASE,
            [{"this": one.key, "attempt": one.attempts, "by": holder, "until": until} for one in held],
        )
    return held


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
    if settled:
        connection.execute(
            _SETTLE,
            [
                {
                    "this": one.key,
                    "to_state": one.state.value,
                    "next_at": one.available_at,
                    "why": one.reason,
                }
                for one in settled
            ],
        )


def give_back(connection: Connection, holder: str, now: datetime) -> int:
    """Let every lease of a holder end now; return how many there were."""
    statement = (
        update(outbox).where(outbox.c.available_at > now, outbox.c.holder == holder).values(available_at=now)
    )
    return connection.execute(statement).rowcount


# the wallet


def add_coupons(connection: Connection, new: Sequence[Coupon]) -> None:
    """Record issued coupons whose ids and codes are fresh."""
    if new:
        connection.execute(
            insert(coupons),
            [msgspec.structs.asdict(one) | {"state": "issued", "closes_at": one.expires_at} for one in new],
        )


def open_coupons_of(connection: Connection, enrolment_ids: Sequence[str]) -> list[Coupon]:
    """Return and lock the coupons of these enrolments that were neither used nor expired."""
    query = (
        _coupons()
        .where(coupons.c.enrolment_id.in_(enrolment_ids), coupons.c.closes_at.is_not(None))
        .order_by(coupons.c.id)
        .with_for_update()
    )
    return [Coupon(*row) for row in connection.execute(query)]


def claim_expiring(connection: Connection, now: datetime, limit: int) -> list[Coupon]:
    """Return and lock the open coupons whose time is over, longest first."""
    query = (
        _coupons()
        .where(coupons.c.closes_at <= now)
        .order_by(coupons.c.closes_at, coupons.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [Coupon(*row) for row in connection.execute(query)]


def close_coupons(connection: Connection, closed: Sequence[Coupon], state: str) -> None:
    """Mark coupons claimed in this transaction as `used` or `expired`."""
    if closed:
        connection.execute(_CLOSE_COUPON, [{"this": one.id, "to_state": state} for one in closed])


def coupons_of_user(connection: Connection, user_id: str) -> list[tuple[Coupon, str]]:
    """Return a user's coupons with their states, oldest first."""
    query = (
        _coupons()
        .add_columns(coupons.c.state)
        .where(coupons.c.user_id == user_id)
        .order_by(coupons.c.issued_at, coupons.c.id)
    )
    return [(Coupon(*row[:-1]), row[-1]) for row in connection.execute(query)]


_SAVE_ENROLMENT = (
    update(enrolments)
    .where(enrolments.c.id == bindparam("this"))
    .values(
        {
            name: bindparam(name)
            for name in ("state", "entered_at", "due_at", "waiting_for", "revision", "status", "result")
        }
    )
)
_LEASE = (
    update(outbox)
    .where(outbox.c.key == bindparam("this"))
    .values(attempts=bindparam("attempt"), holder=bindparam("by"), available_at=bindparam("until"))
)
_SETTLE = (
    update(outbox)
    .where(outbox.c.key == bindparam("this"))
    .values(
        state=bindparam("to_state"), available_at=bindparam("next_at"), reason=bindparam("why"), holder=None
    )
)
_CLOSE_COUPON = (
    update(coupons)
    .where(coupons.c.id == bindparam("this"))
    .values(state=bindparam("to_state"), closes_at=None)
)


def _queued() -> Select[Any]:
    return select(outbox.c.key, outbox.c.enrolment_id, outbox.c.queued_at, outbox.c.attempts, outbox.c.holder)


def _coupons() -> Select[Any]:
    return select(*(coupons.c[name] for name in Coupon.__struct_fields__))


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
