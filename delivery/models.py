"""What delivery is made of: enrolments, effects, messages and the facts they leave.

None of these records can be part of a reference cycle, so the garbage collector is told to pass them over
(`gc=False`): half a million of them in a few seconds cost it a fifth of the time.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from playbooks.models import Arm


class Status(StrEnum):
    """Where an enrolment stands; a stuck one waits for a person, `result` says why."""

    ACTIVE = "active"
    ENDED = "ended"
    STUCK = "stuck"


class Enrolment(msgspec.Struct, frozen=True, gc=False):
    """One user's run through one playbook version's flow.

    `revision` 0 means begun: the start state is entered when the enrolment falls due, at `entered_at`. From
    then on it counts the advances. `due_at` is when the present state ends by itself, None unless active;
    `waiting_for` names the event that ends it earlier. `arm` and `decision_id` are of the latest decision,
    `started_at` is when the run began.
    """

    id: str
    user_id: str
    playbook: str
    playbook_version: int
    decision_id: str
    arm: Arm
    state: str
    entered_at: datetime
    due_at: datetime | None
    waiting_for: str | None = None
    revision: int = 0
    status: Status = Status.ACTIVE
    result: str | None = None
    started_at: datetime | None = None

    @property
    def began(self) -> datetime:
        """When the run began; of a run that never moved, when it entered its first state."""
        return self.started_at or self.entered_at


class IssueCoupon(msgspec.Struct, frozen=True, gc=False, tag="issue_coupon"):
    """Put the arm's offer into the user's wallet; `state` is that of the flow which wants it."""

    key: str
    at: datetime
    state: str


class MarkUsed(msgspec.Struct, frozen=True, gc=False, tag="mark_used"):
    """Count the coupons of this enrolment as used."""

    key: str
    at: datetime


class SetTag(msgspec.Struct, frozen=True, gc=False, tag="set_tag"):
    """Put a tag on the user until `expires_at`, or for good."""

    key: str
    at: datetime
    tag: str
    expires_at: datetime | None


class SendMessage(msgspec.Struct, frozen=True, gc=False, tag="send_message"):
    """Send a content on a channel, as the state `state` says."""

    key: str
    at: datetime
    channel: str
    content: str
    state: str


class GivePoints(msgspec.Struct, frozen=True, gc=False, tag="give_points"):
    """Give the user points in a score; negative ones take away."""

    key: str
    at: datetime
    score: str
    points: float


class OpenTask(msgspec.Struct, frozen=True, gc=False, tag="open_task"):
    """Give a person the task of the state `state`, due at `due_at`; it can be done until `closes_at`."""

    key: str
    at: datetime
    state: str
    due_at: datetime
    closes_at: datetime


class CallWebhook(msgspec.Struct, frozen=True, gc=False, tag="call_webhook"):
    """Tell another system, as the state `state` says."""

    key: str
    at: datetime
    state: str


class AskAgain(msgspec.Struct, frozen=True, gc=False, tag="ask_again"):
    """Ask the policy anew; the run rests until it is told what was drawn."""

    key: str
    at: datetime


# Something a flow wants done. `key` is `enrolment:revision:number`: the same wish always has the same key.
Effect = IssueCoupon | MarkUsed | SetTag | SendMessage | GivePoints | OpenTask | CallWebhook | AskAgain


class MessageState(StrEnum):
    """What became of a message; each state reached is a fact.

    Those after `delivered` are what receipts tell (`delivery.receipts.states` says which goes before which).
    `unknown`: the process died between hand-over and record, or the provider's answer left it open whether it
    took the message; and it must not be repeated, because of its channel or because the gate does not let it
    through any more.
    """

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    UNKNOWN = "unknown"
    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message, ready for a channel, the same at every attempt. `key` is the idempotency key.

    `address` is where it goes: of the kind that its channel says, empty where it needs none. Transactional
    ones nobody can unsubscribe from.
    """

    key: str
    user_id: str
    subject: str
    body: str
    queued_at: datetime
    address: str = ""
    transactional: bool = False


class EnrolmentFact(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Body of the facts `started`, `ended` and `stuck`."""

    decision: str
    playbook: str
    version: int
    arm: str
    result: str | None = None


class MessageFact(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Body of the facts about a message; `attempt` counts from 1, `told`: a receipt says so.

    `cost` is what its provider asks for it, in minor units of `currency`; only the fact `sent` has it.
    """

    decision: str
    enrolment: str
    playbook: str
    arm: str
    channel: str
    content: str
    attempt: int = 0
    reason: str | None = None
    told: bool = False
    cost: int = 0
    currency: str = ""


class SuppressionFact(msgspec.Struct, frozen=True, gc=False):
    """Body of the fact that a rule stopped a send; the fact's label is the rule's id."""

    decision: str
    enrolment: str
    playbook: str
    arm: str
    channel: str
    message: str


class Report(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a piece of work did, in counts. Reports add up with `+`; an empty one is false."""

    events: int = 0
    advanced: int = 0
    ended: int = 0
    stuck: int = 0
    issued: int = 0
    used: int = 0
    expired: int = 0
    tagged: int = 0
    scored: int = 0
    tasks: int = 0
    escalated: int = 0
    queued: int = 0
    sent: int = 0
    delivered: int = 0
    held: int = 0
    retried: int = 0
    failed: int = 0
    unknown: int = 0
    suppressed: int = 0

    def __add__(self, other: Report) -> Report:
        return Report(*(mine + theirs for mine, theirs in zip(_counts(self), _counts(other), strict=True)))

    def __bool__(self) -> bool:
        return any(_counts(self))


def _counts(report: Report) -> tuple[int, ...]:
    return msgspec.structs.astuple(report)
