"""Tags that rules put on users, each time the audiences are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyroaring import BitMap
from sqlalchemy import Connection

from audiences import repository as users_repository
from audiences.definitions import TagSpec
from audiences.selection import repository
from audiences.service import set_tags
from storage.engine import Database
from storage.pace import Pace
from storage.writer import TURN_ROWS

# At most in a turn: a tag writes a row and a fact.
_PER_TURN = TURN_ROWS // 2


class TagRules:
    """Puts the tags of rules on those they hold for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pace = Pace(_PER_TURN)

    def tag(self, spec: TagSpec, numbers: BitMap, as_of: datetime, *, renew: bool) -> None:
        """Tag those who do not carry the tag; `renew`: let it last for those who do, which is no news."""
        expires_at = as_of + spec.expires_after if spec.expires_after else None
        with self._database.read() as connection:
            carried = users_repository.holders_of(connection, spec.tag, as_of)
            holders = repository.ids_of(connection, list(numbers))
        row = {"tag": spec.tag, "source": "rule", "set_at": as_of, "expires_at": expires_at}

        def tag(connection: Connection, users: Sequence[str]) -> int:
            set_tags(connection, users, spec.tag, "rule", as_of, expires_at)
            return len(users)

        def let_last(connection: Connection, users: Sequence[str]) -> int:
            users_repository.set_tags(connection, [{"user_id": user, **row} for user in users])
            return len(users)

        self._pace.write(self._database, [user for user in holders if user not in carried], tag)
        if renew and expires_at is not None:
            self._pace.write(self._database, [user for user in holders if user in carried], let_last)
