"""Records what came of attempts, in the transaction that takes messages out of the queue or back into it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from delivery import outbox_repository as outbox
from delivery.attempts import Outcome
from delivery.channels.management.managed import Managed
from delivery.channels.webhook import WEBHOOK
from delivery.effects import message_fact
from delivery.failing_over import FailOver, Moved
from delivery.gate import SendGate
from delivery.models import MessageState, Report
from delivery.outbox_repository import NOBODY, Settled
from delivery.settling import counts
from playbooks.money import Money
from storage import ledger
from storage.ledger import NewFact


class Records:
    """Keeps outcomes, of those messages whose lease was not taken over meanwhile."""

    def __init__(self, gate: SendGate, managed: Managed, failover: FailOver) -> None:
        self._gate, self._managed, self._failover = gate, managed, failover

    def keep(
        self, connection: Connection, channel: str, outcomes: Sequence[Outcome], now: datetime
    ) -> Report:
        """Record outcomes of a channel in the caller's transaction."""
        held = outbox.still_held(connection, [outcome.attempt.queued for outcome in outcomes])
        self._managed.came(connection, channel, outcomes, now)
        mine = [one for one in outcomes if one.attempt.queued.key in held]
        outbox.let_go(connection, [(one.attempt.before, now) for one in mine if one.let_go])
        # A provider that was busy looked at none of them.
        busy = [(one.attempt.before, now + one.busy) for one in mine if one.busy is not None]
        outbox.let_go(connection, busy)
        settled: list[Settled] = []
        facts: list[NewFact] = []
        moved: list[Moved] = []
        sent = 0
        cost = self._managed.of(channel).cost
        for outcome in mine:
            if outcome.let_go or outcome.busy is not None:
                continue
            one, enrolment = outcome.attempt.queued, outcome.attempt.enrolment
            result = _settled(outcome, now)
            settled.append(result)
            facts += _facts(outcome, result, cost)
            if outcome.receipt is not None:
                sent += 1
                if channel != WEBHOOK:
                    self._gate.committed(connection, enrolment, channel, now)
            elif (
                outcome.elsewhere
                and not outcome.may_have_arrived
                and self._failover.leads_on(connection, one, enrolment)
            ):
                moved.append((one, enrolment, outcome.reason))
        outbox.settle(connection, settled)
        ledger.append(connection, facts, now)
        queued = self._failover.go_on(connection, moved, now)
        report = counts(settled)
        return report + Report(sent=sent, queued=queued, retried=len(busy))


def _settled(outcome: Outcome, now: datetime) -> Settled:
    key = outcome.attempt.queued.key
    if outcome.receipt is not None:
        state = MessageState.DELIVERED if outcome.receipt.delivered else MessageState.SENT
        # A webhook's receiver knows the message by its key and gives it no other name.
        named = None if outcome.attempt.queued.channel == WEBHOOK else outcome.receipt.reference
        return Settled(key, state, reference=named)
    if outcome.once:
        return Settled(key, MessageState.UNKNOWN, reason=outcome.reason)
    if outcome.retry_after is not None:
        # What stops the next attempt must not say of a message that arrived that it was suppressed.
        holder = NOBODY if outcome.may_have_arrived else None
        return Settled(key, MessageState.QUEUED, now + outcome.retry_after, outcome.reason, holder)
    return Settled(key, MessageState.FAILED, reason=outcome.reason)


def _facts(outcome: Outcome, result: Settled, cost: Money | None) -> list[NewFact]:
    states = {
        MessageState.SENT: [MessageState.SENT],
        MessageState.DELIVERED: [MessageState.SENT, MessageState.DELIVERED],
        MessageState.FAILED: [MessageState.FAILED],
        MessageState.UNKNOWN: [MessageState.UNKNOWN],
    }.get(result.state, [])
    one = outcome.attempt.queued
    return [
        message_fact(
            one,
            state,
            outcome.attempt.enrolment,
            outcome.at,
            attempt=one.attempts,
            reason=result.reason,
            cost=cost if state is MessageState.SENT else None,
        )
        for state in states
    ]
