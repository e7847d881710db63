"""What becomes of messages that are not handed over, and the facts of it: pure."""

from __future__ import annotations

from datetime import datetime

from delivery.effects import message_fact
from delivery.models import Enrolment, MessageState, Report, SuppressionFact
from delivery.outbox_repository import NOBODY, Queued, Settled
from playbooks.windows import Hold, Skip
from storage.ledger import Kind, NewFact


def ruled(
    one: Queued, enrolment: Enrolment, ruling: Hold | Skip, now: datetime
) -> tuple[Settled, list[NewFact]]:
    """Return what becomes of a message that the gate did not let through, and the fact of it, if any."""
    if isinstance(ruling, Hold):
        lost = None if one.holder is None else NOBODY
        return Settled(one.key, MessageState.QUEUED, ruling.until, ruling.rule, lost), []
    if one.holder is None:
        stopped = Settled(one.key, MessageState.SUPPRESSED, reason=ruling.rule)
        return stopped, [suppression(one, enrolment, ruling.rule, now)]
    # The user may have it already: only a message that surely never went out was suppressed.
    gone = unknown(one, f", and {ruling.rule} stops a repeat")
    return gone, [settled_fact(gone, one, enrolment, now)]


def unknown(one: Queued, why_not_again: str = "") -> Settled:
    """Return a message as lost: whether it went out is not known, and it is not repeated."""
    reason = (
        f"no record of what became of attempt {one.attempts}{why_not_again}; "
        "a receipt of the provider settles it"
    )
    return Settled(one.key, MessageState.UNKNOWN, reason=reason)


def settled_fact(result: Settled, one: Queued, enrolment: Enrolment, now: datetime) -> NewFact:
    """Return the fact that a message reached the state it was settled in."""
    return message_fact(one, result.state, enrolment, now, attempt=one.attempts, reason=result.reason)


def suppression(one: Queued, enrolment: Enrolment, rule: str, now: datetime) -> NewFact:
    """Return the fact that a rule stopped a message."""
    arm = enrolment.arm
    body = SuppressionFact(
        enrolment.decision_id, enrolment.id, enrolment.playbook, arm.id, one.channel, one.key
    )
    return NewFact(Kind.SUPPRESSION, one.key, rule, enrolment.user_id, now, body)


def counts(settled: list[Settled]) -> Report:
    """Return how many messages were settled in each way."""
    states = [one.state for one in settled]
    return Report(
        delivered=states.count(MessageState.DELIVERED),
        retried=states.count(MessageState.QUEUED),
        failed=states.count(MessageState.FAILED),
        unknown=states.count(MessageState.UNKNOWN),
        suppressed=states.count(MessageState.SUPPRESSED),
    )
