"""Records what came of attempts, in the transaction that takes messages out of the queue or back into it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from delivery import outbox_repository as outbox
from delivery.attempts import Outcome
from delivery.channels.webhook import WEBHOOK
from delivery.effects import message_fact
from delivery.gate import SendGate
from delivery.models import MessageState, Report
from delivery.outbox_repository import Settled
from delivery.settling import counts
from storage import ledger
from storage.ledger import NewFact


class Records:
    """Keeps outcomes, of those messages whose lease was not taken over meanwhile."""

    def __init__(self, gate: SendGate) -> None:
        self._gate = gate

    def keep(self, connection: Connection, outcomes: Sequence[Outcome], now: datetime) -> Report:
        """Record outcomes in the caller's transaction."""
        held = outbox.still_held(connection, [outcome.attempt.queued for outcome in outcomes])
        mine = [one for one in outcomes if one.attempt.queued.key in held]
        outbox.let_go(connection, [one.attempt.before for one in mine if one.let_go], now)
        settled: list[Settled] = []
        facts: list[NewFact] = []
        sent = 0
        for outcome in mine:
            if outcome.let_go:
                continue
            result = _settled(outcome, now)
            settled.append(result)
            facts += _facts(outcome, result)
            if outcome.receipt is not None:
                sent += 1
                if outcome.attempt.queued.channel != WEBHOOK:
                    self._gate.committed(connection, outcome.attempt.enrolment, now)
        outbox.settle(connection, settled)
        ledger.append(connection, facts, now)
        return counts(settled) + Report(sent=sent)


def _settled(outcome: Outcome, now: datetime) -> Settled:
    key = outcome.attempt.queued.key
    if outcome.receipt is not None:
        state = MessageState.DELIVERED if outcome.receipt.delivered else MessageState.SENT
        # A webhook's receiver knows the message by its key and gives it no other name.
        named = None if outcome.attempt.queued.channel == WEBHOOK else outcome.receipt.reference
        return Settled(key, state, reference=named)
    if outcome.retry_after is not None:
        return Settled(key, MessageState.QUEUED, now + outcome.retry_after, outcome.reason)
    return Settled(key, MessageState.FAILED, reason=outcome.reason)


def _facts(outcome: Outcome, result: Settled) -> list[NewFact]:
    states = {
        MessageState.SENT: [MessageState.SENT],
        MessageState.DELIVERED: [MessageState.SENT, MessageState.DELIVERED],
        MessageState.FAILED: [MessageState.FAILED],
    }.get(result.state, [])
    one = outcome.attempt.queued
    return [
        message_fact(
            one, state, outcome.attempt.enrolment, outcome.at, attempt=one.attempts, reason=result.reason
        )
        for state in states
    ]
