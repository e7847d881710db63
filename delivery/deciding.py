"""The port by which a flow asks the policy again; decision/ has the policy."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection

from delivery.causes import Drawn
from delivery.models import Enrolment


class DecideAgain(Protocol):
    """Decides anew for a run, in the transaction that keeps what becomes of it."""

    def __call__(self, connection: Connection, enrolment: Enrolment, key: str, at: datetime) -> Drawn:
        """Draw among the variants of the run's playbook version, and record the decision.

        Args:
            key: of the request: the same key draws the same.
        """
        ...
