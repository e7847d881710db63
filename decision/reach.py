"""How many users a playbook reaches at most: as many as its audience had when it was last evaluated."""

from __future__ import annotations

from audiences.repository import count_users
from audiences.selection import repository as selection_repository
from storage.engine import Database


class AudienceReach:
    """Implements `playbooks.library.approval.Reach` over the audiences of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, audience: str | None) -> int | None:
        with self._database.read() as connection:
            if audience is None:
                return count_users(connection)
            state = selection_repository.live(connection).get(audience)
        return None if state is None else state.size
