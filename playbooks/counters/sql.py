"""Counters that are checked against the journal itself, in the decision's own transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection

from audiences.identity.models import Person
from audiences.identity.people import EveryoneAlone, People
from playbooks.constraints.counting import Uses, by_subject, full_limit
from playbooks.counters import (
    epoch_repository,
    repository,
    together_repository,
    totals_repository,
    uses_repository,
)
from playbooks.counters.port import (
    RESERVATION,
    Budget,
    Difference,
    PastUse,
    Reservation,
    ReservedTogether,
    Wanted,
)
from playbooks.counters.together import CheckedTogether
from storage.engine import Database


class SqlCounters:
    """Implements `Counters` on SQLite and Postgres.

    Decisions for one user, and those that spend from one budget, wait for each other's transactions on
    Postgres; on SQLite all write through one writer anyway.
    """

    def __init__(
        self, database: Database, people: People | None = None, *, reservation: timedelta = RESERVATION
    ) -> None:
        """Take over from counters that were kept elsewhere, if any were.

        Args:
            people: who is one person.
            reservation: how long a reservation counts before it is committed.
        """
        self._database = database
        self._people = people or EveryoneAlone()
        self._reservation = reservation
        with database.read() as connection:
            kept_elsewhere = epoch_repository.has_epochs(connection)
        if kept_elsewhere:
            database.write(_take_over)

    def read(self, user_id: str, now: datetime, *, since: datetime) -> Uses:
        return uses_repository.look(self._database, self._people.members(user_id), now, since=since)

    def read_many(self, user_ids: Sequence[str], now: datetime, *, since: datetime) -> Mapping[str, Uses]:
        people = {profile: user_id for user_id in user_ids for profile in self._people.members(user_id)}
        return together_repository.look_at_many(self._database, people, now, since=since)

    def taken(self, budget: Budget, now: datetime) -> int:
        with self._database.read() as connection:
            return repository.granted(connection, budget.key, now)[0]

    def levels(self, budgets: Collection[Budget], now: datetime) -> Mapping[str, int]:
        with self._database.read() as connection:
            found = totals_repository.levels(connection, [one.key for one in budgets], now)
        return {one.key: found.get(one.key, 0) for one in budgets}

    def reserve(self, wanted: Wanted, now: datetime, connection: Connection | None = None) -> Reservation:
        return _Checked(wanted, self._people.person(wanted.user_id), now, self._reservation)

    def reserve_many(self, wanted: Sequence[Wanted], now: datetime) -> ReservedTogether:
        return CheckedTogether(wanted, self._people, now, self._reservation)

    def holds(self, connection: Connection, decision_id: str, until: datetime) -> bool:
        return repository.holds(connection, decision_id, until)

    def line_up(self, connection: Connection, wanted: Sequence[Wanted], ending: Sequence[str]) -> None:
        _lock_subjects(connection, [(one, self._people.members(one.user_id)) for one in wanted])
        ids = [*ending, *(one.decision_id for one in wanted if one.again)]
        wished = {spend.budget.key for one in wanted for spend in one.spends}
        totals_repository.lock_totals(connection, ids, wished)

    def commit(self, connection: Connection, decision_ids: Sequence[str]) -> None:
        repository.commit(connection, decision_ids)

    def held(self, connection: Connection, decision_id: str, until: datetime) -> Set[str]:
        return repository.held(connection, decision_id, until)

    def release(
        self, connection: Connection, decision_ids: Sequence[str], only: Collection[str] | None = None
    ) -> None:
        release(connection, decision_ids, only)

    def settle(self, connection: Connection, decision_ids: Sequence[str], prefixes: Sequence[str]) -> None:
        totals_repository.lock_totals(connection, decision_ids)
        for budget, _, amount in sorted(repository.settle_grants(connection, decision_ids, prefixes)):
            totals_repository.give_back(connection, budget, amount)
        repository.settle_uses(connection, decision_ids, prefixes)

    def make_room(self, connection: Connection, budget: Budget, by: str, amount: int, now: datetime) -> None:
        repository.insert_room(connection, budget.key, by, amount, now)
        totals_repository.give_back(connection, budget.key, amount)

    def add_past(self, connection: Connection, uses: Sequence[PastUse]) -> None:
        repository.insert_past(connection, uses)

    def forget(self, user_ids: Sequence[str]) -> None:
        return None

    def erase(self, user_ids: Sequence[str]) -> int:
        return 0

    def recount(self, now: datetime) -> list[Difference]:
        with self._database.read() as connection:
            return totals_repository.wrong_totals(connection)

    def rebuild(self) -> None:
        self._database.write(totals_repository.right_totals)

    def close(self) -> None:
        return None


def release(connection: Connection, decision_ids: Sequence[str], only: Collection[str] | None = None) -> None:
    """Delete what these decisions have reserved, and lower the totals of its budgets."""
    totals_repository.lock_totals(connection, decision_ids)
    repository.release_uses(connection, decision_ids, only)
    for budget, _, amount in sorted(repository.release_grants(connection, decision_ids, only)):
        totals_repository.give_back(connection, budget, amount)


class _Checked:
    """A reservation that is checked when it is written, in one transaction."""

    __slots__ = ("_lasts", "_now", "_profiles", "_wanted")

    def __init__(self, wanted: Wanted, person: Person, now: datetime, lasts: timedelta) -> None:
        self._wanted = msgspec.structs.replace(wanted, user_id=person.canonical)
        self._profiles = person.members
        self._now = now
        self._lasts = lasts

    def keep(self, connection: Connection) -> str | None:
        wanted, now = self._wanted, self._now
        _lock_subjects(connection, [(wanted, self._profiles)])
        if wanted.again:
            release(connection, [wanted.decision_id])
        if (full := self._full(connection)) is not None:
            return full
        taken: list[tuple[str, int]] = []
        for spend in wanted.in_order:
            if not totals_repository.take(connection, spend, now):
                for budget, amount in taken:
                    totals_repository.give_back(connection, budget, amount)
                return spend.budget.rule
            taken.append((spend.budget.key, spend.amount))
        expires_at = None if wanted.for_good else wanted.until or now + self._lasts
        if wanted.limits:
            repository.insert_uses(connection, [(wanted, expires_at)], now)
        if wanted.spends:
            repository.insert_grants(connection, [(wanted, expires_at)], now)
        return None

    def drop(self) -> None:
        return None

    def _full(self, connection: Connection) -> str | None:
        """Return the rule of the first limit without room."""
        for subject, some in by_subject(self._wanted.limits).items():
            profiles = (subject,) if subject else self._profiles
            since = self._now - max(limit.window for limit in some)
            uses = uses_repository.read(connection, profiles, self._now, since=since)
            if (full := full_limit(some, uses, self._now)) is not None:
                return full
        return None


def _lock_subjects(connection: Connection, some: Sequence[tuple[Wanted, Sequence[str]]]) -> None:
    """Hold all whose uses reservations count, each given with the profiles of its user, in one order."""
    subjects = {
        one
        for wanted, profiles in some
        for subject in by_subject(wanted.limits)
        for one in ((subject,) if subject else profiles)
    }
    for subject in sorted(subjects):
        repository.lock_user(connection, subject)


def _take_over(connection: Connection) -> None:
    epoch_repository.end_epochs(connection)
    totals_repository.right_totals(connection)
