"""What is checked before each send: that the caps which let the decision through still do."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from delivery.models import Enrolment
from delivery.outbox import LEASE
from playbooks.counters import Counters, wanted_by
from playbooks.library.repository import version_body
from playbooks.models import Playbook


class CapGate:
    """Implements `delivery.gate.SendGate` over the counters of playbooks/."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._playbooks: dict[tuple[str, int], Playbook | None] = {}

    def check(self, connection: Connection, enrolment: Enrolment, now: datetime) -> str | None:
        playbook = self._playbook(connection, enrolment)
        if playbook is None:
            return None
        wanted = wanted_by(playbook, enrolment.user_id, enrolment.decision_id, again=True)
        # What expires during the attempt would be free for others before the send is counted.
        if wanted is None or self._counters.holds(connection, enrolment.decision_id, now + LEASE):
            return None
        return self._counters.reserve(wanted, now, connection).keep(connection)

    def committed(self, connection: Connection, enrolment: Enrolment, now: datetime) -> None:
        playbook = self._playbook(connection, enrolment)
        if playbook is not None and playbook.constraints:
            self._counters.commit(connection, [enrolment.decision_id])

    def _playbook(self, connection: Connection, enrolment: Enrolment) -> Playbook | None:
        key = (enrolment.playbook, enrolment.playbook_version)
        if key not in self._playbooks:
            body = version_body(connection, *key)
            self._playbooks[key] = body.playbook if body else None
        return self._playbooks[key]
