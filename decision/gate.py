"""What is checked before each send: that the caps which let the decision through still do."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from delivery.models import Enrolment
from playbooks import counters
from playbooks.models import Playbook
from playbooks.repository import version_body


class CapGate:
    """Implements `delivery.gate.SendGate` over the counters of playbooks/."""

    def __init__(self) -> None:
        self._playbooks: dict[tuple[str, int], Playbook | None] = {}

    def check(self, connection: Connection, enrolment: Enrolment, now: datetime) -> str | None:
        playbook = self._playbook(connection, enrolment)
        if playbook is None or not playbook.constraints:
            return None
        if counters.holds(connection, enrolment.decision_id, now):
            return None
        # The reservation of the decision has expired; the send needs one of its own.
        return counters.reserve(connection, playbook, enrolment.user_id, enrolment.decision_id, now)

    def committed(self, connection: Connection, enrolment: Enrolment, now: datetime) -> None:
        playbook = self._playbook(connection, enrolment)
        if playbook is not None and playbook.constraints:
            counters.commit(connection, [enrolment.decision_id])

    def _playbook(self, connection: Connection, enrolment: Enrolment) -> Playbook | None:
        key = (enrolment.playbook, enrolment.playbook_version)
        if key not in self._playbooks:
            body = version_body(connection, *key)
            self._playbooks[key] = body.playbook if body else None
        return self._playbooks[key]
