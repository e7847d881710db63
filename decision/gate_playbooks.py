"""Playbooks as runs know them: by the version that a run is pinned to."""

from __future__ import annotations

from sqlalchemy import Connection

from delivery.models import Enrolment
from playbooks.library.repository import version_body
from playbooks.library.serving import PublishedPlaybook


class Playbooks:
    """Playbooks by version; none of them ever changes, so each is read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], PublishedPlaybook | None] = {}

    def of(self, connection: Connection, enrolment: Enrolment) -> PublishedPlaybook | None:
        """Return the playbook of a run, None where the library never had it."""
        key = (enrolment.playbook, enrolment.playbook_version)
        if key not in self._known:
            body = version_body(connection, *key)
            self._known[key] = body.published(key[1]) if body else None
        return self._known[key]
