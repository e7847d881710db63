"""SQL of the outbox. Every function works in its caller's transaction; a claim locks what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, Select, bindparam, case, func, select, update

from delivery.models import MessageState
from delivery.tables import outbox
from storage.bulk import Inserts
from storage.statements import Statement, defer
from storage.times import to_micros

# What goes first, and all else.
TRANSACTIONAL, OTHER = 0, 1
# Holds what nobody hands over, but an attempt at it may have reached the user and was never recorded.
NOBODY = ""


class Queued(msgspec.Struct, frozen=True, gc=False):
    """A message in the outbox. `holder` is set while a relay hands it over, until `available_at`.

    It stays, or becomes `NOBODY`, when what came of that is not known. `step` is the state of the flow that
    wished for it; `lane` says what goes before what.
    """

    key: str
    enrolment_id: str
    queued_at: datetime
    attempts: int
    holder: str | None
    channel: str
    content: str
    step: str
    lane: int = OTHER


class Settled(msgspec.Struct, frozen=True, gc=False):
    """What an outbox row becomes; it is tried again at `available_at` unless that is None.

    `holder` is `NOBODY` where the user may have it already; `reference` what the provider calls it.
    """

    key: str
    state: MessageState
    available_at: datetime | None = None
    reason: str | None = None
    holder: str | None = None
    reference: str | None = None


def queue(connection: Connection, messages: Sequence[Queued]) -> None:
    """Put messages into the outbox, to be handed over at once, at the end of the writer's turn."""
    rows = [
        (
            one.key,
            one.enrolment_id,
            queued_at := to_micros(one.queued_at),
            queued_at,
            one.attempts,
            _STATE_QUEUED,
            one.channel,
            one.content,
            one.step,
            one.lane,
        )
        for one in messages
    ]
    defer(connection, _QUEUE, rows)


def waiting_channels(connection: Connection, now: datetime) -> list[str]:
    """Return the channels that have a message whose next attempt may begin."""
    found: list[str] = []
    # From one channel to the next: a query for the distinct ones would read all that waits.
    after = _next_channel(connection, None)
    while after is not None:
        if any(_is_due(connection, after, lane, now) for lane in (TRANSACTIONAL, OTHER)):
            found.append(after)
        after = _next_channel(connection, after)
    return found


def claim_messages(
    connection: Connection, channel: str, now: datetime, limit: int, *, fresh: bool = False
) -> list[Queued]:
    """Return and lock messages of a channel whose next attempt may begin, in the order they are to go.

    Transactional ones first, then those that wait longest. `fresh`: only those that were never tried.
    """
    claimed: list[Queued] = []
    # A query a lane: over both the index could not be read in the order of the claim.
    for lane in (TRANSACTIONAL, OTHER):
        if len(claimed) < limit:
            query = (
                _queued()
                .where(outbox.c.channel == channel, outbox.c.lane == lane, outbox.c.available_at <= now)
                .order_by(outbox.c.channel, outbox.c.lane, outbox.c.available_at, outbox.c.key)
                .limit(limit - len(claimed))
                .with_for_update(skip_locked=True)
            )
            if fresh:
                query = query.where(outbox.c.attempts == 0)
            claimed += [Queued(*row) for row in connection.execute(query)]
    return claimed


def first_channel(connection: Connection, key: str) -> str | None:
    """Return the channel of the message with a key, None if there is none."""
    found: str | None = connection.execute(select(outbox.c.channel).where(outbox.c.key == key)).scalar()
    return found


def not_arrived(connection: Connection, keys: Sequence[str]) -> list[Queued]:
    """Return those messages of which, after all that is known, it is certain that they did not arrive."""
    states = [MessageState.FAILED.value, MessageState.BOUNCED.value]
    query = _queued().where(outbox.c.key.in_(keys), outbox.c.state.in_(states)).order_by(outbox.c.key)
    return [Queued(*row) for row in connection.execute(query)]


def queue_of(connection: Connection, channel: str, now: datetime, most: int) -> tuple[int, datetime | None]:
    """Return how many messages of a channel wait, up to `most`, and when the first due one was queued."""
    open_ = select(outbox.c.queued_at, outbox.c.available_at).where(
        outbox.c.channel == channel, outbox.c.available_at.is_not(None)
    )
    some = open_.limit(most).subquery()
    number, oldest = connection.execute(
        select(func.count(), func.min(case((some.c.available_at <= now, some.c.queued_at))))
    ).one()
    return number, oldest


def _next_channel(connection: Connection, after: str | None) -> str | None:
    query = select(func.min(outbox.c.channel)).where(outbox.c.available_at.is_not(None))
    if after is not None:
        query = query.where(outbox.c.channel > after)
    found: str | None = connection.execute(query).scalar()
    return found


def _is_due(connection: Connection, channel: str, lane: int, now: datetime) -> bool:
    query = (
        select(outbox.c.key)
        .where(outbox.c.channel == channel, outbox.c.lane == lane, outbox.c.available_at <= now)
        .limit(1)
    )
    return connection.execute(query).first() is not None


def lease(connection: Connection, claimed: Sequence[Queued], holder: str, until: datetime) -> list[Queued]:
    """Begin an attempt at each of these messages; return them as they are now."""
    held = [msgspec.structs.replace(one, attempts=one.attempts + 1, holder=holder) for one in claimed]
    micros = to_micros(until)
    _LEASE.run_many(
        connection,
        [{"this": one.key, "attempt": one.attempts, "by": holder, "until": micros} for one in held],
    )
    return held


def let_go(connection: Connection, before: Sequence[tuple[Queued, datetime]]) -> None:
    """Take back leases of messages that no provider took; each is to be taken at its moment, as it was."""
    _LEASE.run_many(
        connection,
        [
            {"this": one.key, "attempt": one.attempts, "by": one.holder, "until": to_micros(at)}
            for one, at in before
        ],
    )


def still_held(connection: Connection, held: Sequence[Queued]) -> set[str]:
    """Return and lock those of these messages whose attempt is still the one that was leased."""
    query = (
        _queued().where(outbox.c.key.in_([one.key for one in held])).order_by(outbox.c.key).with_for_update()
    )
    attempts = {one.key: (one.holder, one.attempts) for one in held}
    return {one.key for one in connection.execute(query) if attempts[one.key] == (one.holder, one.attempts)}


def settle(connection: Connection, settled: Sequence[Settled]) -> None:
    """End an attempt: the message is through, or waits for its next attempt."""
    rows = [
        {
            "this": one.key,
            "to_state": one.state.value,
            "next_at": _micros(one.available_at),
            "why": one.reason,
            "whose": one.holder,
            "known_as": one.reference,
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


_STATE_QUEUED = MessageState.QUEUED.value
_QUEUE = Inserts(
    outbox,
    (
        "key",
        "enrolment_id",
        "queued_at",
        "available_at",
        "attempts",
        "state",
        "channel",
        "content",
        "step",
        "lane",
    ),
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
        reference=func.coalesce(bindparam("known_as"), outbox.c.reference),
    )
)


def queued_columns() -> Sequence[Column[Any]]:
    """Return the columns of the outbox that `Queued` is made of, in its order."""
    return (
        outbox.c.key,
        outbox.c.enrolment_id,
        outbox.c.queued_at,
        outbox.c.attempts,
        outbox.c.holder,
        outbox.c.channel,
        outbox.c.content,
        outbox.c.step,
        outbox.c.lane,
    )


def _queued() -> Select[Any]:
    return select(*queued_columns())


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)
