"""Serves playbooks from a database without a service."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from playbooks.library import Draft, Library
from playbooks.library.changes import FOLDER
from playbooks.library.importing import import_library
from playbooks.library.loading import Loader


class NobodyKnows:
    """The reach of everything where no audience was evaluated."""

    def of(self, audience: str | None) -> int | None:
        return None


def publish(connection: Connection, draft: Draft, now: datetime) -> Library:
    """Serve these playbooks, whatever else is served, without thresholds; return what is served then."""
    import_library(connection, draft, NobodyKnows(), by=FOLDER, source=FOLDER, now=now, publish=True)
    return Loader().load(connection)
