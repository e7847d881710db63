"""What people do with runs: look at them, take a user out."""

from __future__ import annotations

from sqlalchemy import Connection

from delivery import repository, watchdog
from delivery.causes import TakenOut
from delivery.errors import UnknownEnrolment
from delivery.executor import Executor
from delivery.models import Enrolment, Status
from delivery.watchdog import Late
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ledger import Kind, NewFact

BY_HAND = "by_hand"


class Hands:
    """Runs, for people."""

    def __init__(self, database: Database, clock: Clock, executor: Executor) -> None:
        self._database, self._clock, self._executor = database, clock, executor

    def enrolment(self, enrolment_id: str) -> Enrolment:
        """Return a run. Raises UnknownEnrolment."""
        with self._database.read() as connection:
            found = repository.get_enrolment(connection, enrolment_id)
        if found is None:
            raise UnknownEnrolment(f"there is no enrolment {enrolment_id!r}; check the id")
        return found

    def late(self, limit: int) -> list[Late]:
        """Return runs that do not go on although their time is over, and why (see `delivery.watchdog`)."""
        with self._database.read() as connection:
            return watchdog.late(connection, self._clock.now(), limit)

    def take_out(self, enrolment_id: str, why: str, by: str) -> Enrolment:
        """End a run wherever it is; one that has ended stays as it is.

        Raises:
            UnknownEnrolment: there is none with this id.
        """
        now = self._clock.now()

        def record(connection: Connection, before: Enrolment, after: Enrolment) -> None:
            if before.status is Status.ACTIVE:
                body = {"enrolment": before.id, "by": by, "why": why}
                fact = NewFact(Kind.CHANGE, f"{before.id}:{BY_HAND}", BY_HAND, before.user_id, now, body)
                ledger.append(connection, [fact], now)

        return self._executor.apply(enrolment_id, TakenOut(BY_HAND, now), record)
