"""The gate that every send passes; whoever stands above checks consent, windows, caps and switches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from delivery.models import Enrolment
from playbooks.windows import Ruling


class Send(msgspec.Struct, frozen=True, gc=False):
    """A message that is about to go out, the run that wants it, and the state of its flow that did.

    A webhook has no content.
    """

    key: str
    enrolment: Enrolment
    channel: str
    queued_at: datetime
    content: str = ""
    step: str = ""


class SendGate(Protocol):
    """Says what becomes of messages, in the transaction that begins their attempts."""

    def check(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        """Return for each message, in their order, whether it waits, is stopped, or goes out (None).

        Asked before every attempt; must reserve what `committed` will count.
        """
        ...

    def committed(self, connection: Connection, enrolment: Enrolment, channel: str, now: datetime) -> None:
        """Count the send for good: the channel took the message. Called once a message."""
        ...


class CouponLimits(Protocol):
    """Counts coupons for good when they are issued, and what is owed for them while they can be used."""

    def line_up(
        self, connection: Connection, runs: Sequence[Enrolment], ending: Sequence[str], now: datetime
    ) -> None:
        """Lock what is about to be counted for runs, and given back for the decisions of coupons that end."""
        ...

    def issue(self, connection: Connection, enrolment: Enrolment, now: datetime) -> str | None:
        """Count the use that issues a coupon, in its transaction; return the rule that refuses, or None."""
        ...

    def counts(self, connection: Connection, enrolment: Enrolment) -> bool:
        """Say whether a run takes from what all users share; those of test users do not."""
        ...

    def ended(self, connection: Connection, decision_ids: Sequence[str]) -> None:
        """Nothing is owed any more for the coupons of these decisions: they are used, or over."""
        ...

    def reopened(self, connection: Connection, enrolment: Enrolment, now: datetime) -> None:
        """A run's coupon, which was used, can be used again: what may be owed for it counts again."""
        ...

    def released(self, connection: Connection, use_ids: Sequence[str]) -> None:
        """Orders gave back what they had reserved of coupons."""
        ...


class NoLimits:
    """As many coupons as there are users."""

    def line_up(
        self, connection: Connection, runs: Sequence[Enrolment], ending: Sequence[str], now: datetime
    ) -> None:
        return None

    def issue(self, connection: Connection, enrolment: Enrolment, now: datetime) -> str | None:
        return None

    def counts(self, connection: Connection, enrolment: Enrolment) -> bool:
        return True

    def ended(self, connection: Connection, decision_ids: Sequence[str]) -> None:
        return None

    def reopened(self, connection: Connection, enrolment: Enrolment, now: datetime) -> None:
        return None

    def released(self, connection: Connection, use_ids: Sequence[str]) -> None:
        return None


class OpenGate:
    """Lets everything through."""

    def check(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        return [None] * len(sends)

    def committed(self, connection: Connection, enrolment: Enrolment, channel: str, now: datetime) -> None:
        return None
