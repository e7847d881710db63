"""The gate that every send passes; whoever stands above checks consent, windows, caps and switches."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection

from delivery.models import Enrolment


class SendGate(Protocol):
    """Says whether a message may go out, in the transaction that begins its attempt."""

    def check(self, connection: Connection, enrolment: Enrolment, now: datetime) -> str | None:
        """Return the id of the rule that stops the send, or None when it may go out.

        Asked before every attempt; must reserve what `committed` will count.
        """
        ...

    def committed(self, connection: Connection, enrolment: Enrolment, now: datetime) -> None:
        """Count the send for good: the channel took the message. Called once a message."""
        ...


class OpenGate:
    """Lets everything through."""

    def check(self, connection: Connection, enrolment: Enrolment, now: datetime) -> str | None:
        return None

    def committed(self, connection: Connection, enrolment: Enrolment, now: datetime) -> None:
        return None
