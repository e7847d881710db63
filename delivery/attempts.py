"""Attempts at messages, and what came of them."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from delivery.channels.channel import Receipt
from delivery.models import Enrolment
from delivery.outbox_repository import Queued
from delivery.plans import Plan


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """A message under lease: as it was claimed, as it is now, and until when it may be handed over.

    Without a `plan`, `problem` says why there is none.
    """

    before: Queued
    queued: Queued
    enrolment: Enrolment
    plan: Plan | None
    problem: str
    until: datetime


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What came of an attempt at a moment.

    With a `receipt` the channel took it; else `reason` says why not, and `retry_after` when it is to be tried
    again, if ever. `let_go`: it was not tried at all, and is to be as it was.
    """

    attempt: Attempt
    at: datetime
    receipt: Receipt | None = None
    reason: str = ""
    retry_after: timedelta | None = None
    let_go: bool = False
