"""Brings messages into the states that receipts tell of, in the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from delivery import parking_repository as parking
from delivery.effects import message_fact
from delivery.gate import SendGate
from delivery.models import Enrolment, MessageState
from delivery.receipts import repository
from delivery.receipts.states import further
from storage import ledger


def bring(
    connection: Connection,
    gate: SendGate,
    key: str,
    enrolment: Enrolment,
    state: MessageState,
    at: datetime,
    now: datetime,
    *,
    reason: str | None = None,
) -> bool:
    """Record that a message reached a state; returns whether that is new.

    Who tells of a message tells that it was handed over: if nobody knows of that (its attempt is under way
    still, was lost, or is to be made again), it counts as sent from now on and is not tried again.
    """
    found = repository.held(connection, key, lock=True)
    if found is None:
        return False
    one, before = found.queued, found.state
    facts = [
        message_fact(one, MessageState.SENT, enrolment, at, attempt=one.attempts, told=True),
        message_fact(one, state, enrolment, at, attempt=one.attempts, reason=reason, told=True),
    ]
    if before is MessageState.QUEUED:
        parking.forget(connection, parking.MESSAGE, [key])
    after = further(before, state)
    if after is not before:
        repository.settle(connection, key, after, reason)
    recorded = ledger.append_unless_known(connection, facts, now)
    if f"{key}:{MessageState.SENT.value}" in recorded:
        gate.committed(connection, enrolment, one.channel, now)
    return f"{key}:{state.value}" in recorded
