"""The users that a piece of work sees: looked at once, between two turns of the writer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import Connection

from delivery.models import Enrolment
from delivery.view import View, Views
from storage.clock import Clock

_STRANGER = View()


class Sight:
    """What is known of users while some work is done; of use to one thread."""

    def __init__(self, views: Views, clock: Clock, asks: Callable[[Connection, Enrolment], bool]) -> None:
        """`asks` says whether a run's flow asks for its user."""
        self._views, self._clock, self._asks = views, clock, asks
        self._seen: dict[str, View] = {}
        self._wanted: set[str] = set()

    def unseen(self, connection: Connection, found: Iterable[Enrolment]) -> set[str]:
        """Return the runs whose flows ask for users who were not seen yet; those users are wanted."""
        missing = [one for one in found if one.user_id not in self._seen and self._asks(connection, one)]
        self._wanted.update(one.user_id for one in missing)
        return {one.id for one in missing}

    def look(self) -> bool:
        """See the users who are wanted as they are now, and nobody else any more; False if nobody is.

        Outside of transactions, for it may take its time.
        """
        if not self._wanted:
            self._seen = {}
            return False
        self._seen.update(self._views.read(sorted(self._wanted), self._clock.now()))
        self._wanted = set()
        return True

    def of(self, user_id: str) -> View:
        """Return a user who was seen, else a stranger."""
        return self._seen.get(user_id, _STRANGER)
