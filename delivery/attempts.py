"""Attempts at messages, and what came of them."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from delivery.channels.channel import Receipt
from delivery.models import Enrolment
from delivery.outbox_repository import Queued
from delivery.plans import Plan


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """A message under lease: as it was claimed, as it is now, and when it may be handed over.

    Without a `plan`, `problem` says why there is none. `address` is what the user's was then, None where that
    is yet to be asked.
    """

    before: Queued
    queued: Queued
    enrolment: Enrolment
    plan: Plan | None
    problem: str
    claimed_at: datetime
    until: datetime
    address: str | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What came of an attempt at a moment.

    With a `receipt` the channel took it; else `reason` says why not, and `retry_after` when it is to be tried
    again, if ever.

    `let_go`: it was not tried at all, and is to be as it was. `perhaps`: the provider may have taken it.
    `once`: and it knows no keys, so it is not tried again. `refused`: the provider will never take it.
    `fault`: it failed by the provider's own fault. `busy`: the provider takes nothing for so long, which is
    no attempt. `elsewhere`: it surely did not reach its user, who may be reached on another channel.
    """

    attempt: Attempt
    at: datetime
    receipt: Receipt | None = None
    reason: str = ""
    retry_after: timedelta | None = None
    let_go: bool = False
    perhaps: bool = False
    once: bool = False
    refused: bool = False
    fault: bool = False
    busy: timedelta | None = None
    elsewhere: bool = False

    @property
    def may_have_arrived(self) -> bool:
        """Whether the user may have the message, by this attempt or by one that was never recorded."""
        return self.perhaps or self.attempt.before.holder is not None
