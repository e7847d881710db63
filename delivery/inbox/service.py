"""What apps do with the inbox of their users."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from audiences.identity.people import People
from delivery.errors import NoticeUnknown
from delivery.inbox import repository
from delivery.inbox.repository import Notice
from delivery.receipts.models import Told, What
from delivery.receipts.service import Receipts
from storage.clock import Clock
from storage.engine import Database
from storage.pace import Pace
from storage.writer import TURN_ROWS, Lane


class Inbox:
    """Reads and marks messages of persons, whichever of their profiles they came to. Thread-safe."""

    def __init__(
        self, database: Database, clock: Clock, people: People, receipts: Receipts | None = None
    ) -> None:
        """`receipts` are told that a message was read, as a provider would."""
        self._database, self._clock, self._people = database, clock, people
        self._receipts = receipts

    def of(
        self, user_id: str, *, unread: bool, after: tuple[datetime, str] | None, limit: int
    ) -> tuple[Sequence[Notice], int]:
        """Return a page of what a user is to see, newest first, and how many of all are unread."""
        profiles, now = self._people.members(user_id), self._clock.now()
        with self._database.read() as connection:
            page = repository.of_users(connection, profiles, now, unread=unread, after=after, limit=limit)
            return page, repository.unread_of(connection, profiles, now)

    def read(self, user_id: str, key: str) -> Notice:
        """Note that a user read a message, which counts as opened; when they did so first stays.

        Raises:
            NoticeUnknown: they have none of this key, or it expired.
        """
        return self._marked(user_id, key, dismissed=False)

    def dismiss(self, user_id: str, key: str) -> Notice:
        """Take a message off a user's inbox; whoever dismisses it has read it. Raises NoticeUnknown."""
        return self._marked(user_id, key, dismissed=True)

    def _marked(self, user_id: str, key: str, *, dismissed: bool) -> Notice:
        profiles = self._people.members(user_id)

        def work(connection: Connection) -> Notice:
            now = self._clock.now()
            notice = repository.find(connection, key, profiles)
            if notice is None or notice.expires_at <= now:
                raise NoticeUnknown(f"the user has no message {key!r} in the inbox: it may have expired")
            marked = msgspec.structs.replace(
                notice,
                read_at=notice.read_at or now,
                dismissed_at=notice.dismissed_at or (now if dismissed else None),
            )
            repository.mark(connection, marked)
            return marked

        notice = self._database.write(work, lane=Lane.REQUEST)
        receipts = self._receipts
        # A channel that was taken out since has nobody who would know it.
        if receipts is not None and receipts.knows(notice.channel) and notice.read_at is not None:
            # Told at every time, of which all but one are known: what broke off in between is made up for.
            told = Told(f"read:{key}", What.OPENED, notice.read_at, key)
            receipts.submit(notice.channel, [told]).result()
        return notice


def let_go_of_expired(database: Database, now: datetime) -> int:
    """Take away messages that have expired, and return how many."""

    def some(connection: Connection, limit: int) -> tuple[int, int]:
        gone = repository.let_go(connection, now, limit)
        return gone, gone

    return Pace(TURN_ROWS).until_done(database, some)
