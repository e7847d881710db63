"""A check of the gate: what a message says is not over, however long the message was under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from delivery.gate import Send
from playbooks.content.expiry import end_of, expiry_rule
from playbooks.library.repository import version_body
from playbooks.windows import Ruling, Skip


class ExpiryCheck:
    """Stops messages of contents whose time is over, as the version of their run has them."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, int], Mapping[str, datetime]] = {}

    def rule(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        """See `decision.gate.Check`."""
        return [self._rule(connection, send, now) for send in sends]

    def _rule(self, connection: Connection, send: Send, now: datetime) -> Ruling:
        run = send.enrolment
        key = (run.playbook, run.playbook_version)
        if key not in self._ends:
            body = version_body(connection, *key)
            contents = {} if body is None else {one.id: one for one in body.contents}
            ends = {name: end_of(name, contents) for name in contents}
            # Versions never change, so each is read once.
            self._ends[key] = {name: end for name, end in ends.items() if end is not None}
        end = self._ends[key].get(send.content)
        return Skip(expiry_rule(send.content)) if end is not None and now >= end else None
