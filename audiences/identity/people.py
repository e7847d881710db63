"""Who goes by which id, for all who count, decide or show: the port, and a map that follows joins."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Protocol

from sqlalchemy import Connection

from audiences.identity import repository
from audiences.identity.models import Generation, Person
from storage.engine import Database


class People(Protocol):
    """Answers at once, from any thread; who was never joined is a person of one profile."""

    def person(self, user_id: str) -> Person:
        """Return the person that a profile belongs to."""
        ...

    def canonical(self, user_id: str) -> str:
        """Return the id that a profile's person goes by."""
        ...

    def members(self, user_id: str) -> tuple[str, ...]:
        """Return all profiles of a profile's person."""
        ...


def canonical_only(people: People, users: Iterable[str]) -> list[str]:
    """Return those users that go by their own id."""
    return [user for user in users if people.canonical(user) == user]


def together(people: People, of_users: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return what profiles have, by the canonical id of their person."""
    found: dict[str, set[str]] = {}
    for user, has in of_users.items():
        found.setdefault(people.canonical(user), set()).update(has)
    return found


class Following(People, Protocol):
    """People of whom it is also known who moved from one person to another."""

    @property
    def revision(self) -> int:
        """Grows each time that a profile moves from one person to another."""
        ...

    def moved_since(self, revision: int) -> list[str]:
        """Return the profiles of persons that changed after a revision."""
        ...


class EveryoneAlone:
    """Nobody was ever joined."""

    revision = 0

    def moved_since(self, revision: int) -> list[str]:
        return []

    def person(self, user_id: str) -> Person:
        return Person(user_id, (user_id,))

    def canonical(self, user_id: str) -> str:
        return user_id

    def members(self, user_id: str) -> tuple[str, ...]:
        return (user_id,)


class PersonsProfiles:
    """Reads the profiles of a person in the transaction that needs them; implements `consent.Profiles`."""

    def of(self, connection: Connection, user_id: str) -> list[str]:
        """Return the ids of all profiles of whoever has this one, this one included."""
        return repository.members_of(connection, user_id) or [user_id]


class JoinedPeople:
    """Holds the persons of several profiles in memory; `refresh` takes what was committed since.

    About 400 bytes for each profile that was ever joined.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._persons: dict[str, Person] = {}
        self.revision = 0
        # How often somebody was erased: then nothing that is remembered of names counts any more.
        self.forgotten = 0
        self.refresh()

    def person(self, user_id: str) -> Person:
        return self._persons.get(user_id) or Person(user_id, (user_id,))

    def canonical(self, user_id: str) -> str:
        person = self._persons.get(user_id)
        return user_id if person is None else person.canonical

    def members(self, user_id: str) -> tuple[str, ...]:
        person = self._persons.get(user_id)
        return (user_id,) if person is None else person.members

    def canonicals(self) -> Mapping[str, str]:
        """Return the canonical id of every profile that goes by another one's."""
        persons = self._persons.copy()
        return {name: one.canonical for name, one in persons.items() if one.canonical != name}

    def moved_since(self, revision: int) -> list[str]:
        """Return the profiles of persons that changed after a revision."""
        persons = self._persons.copy()
        return [name for name, one in persons.items() if one.revision > revision]

    def refresh(self) -> list[Generation]:
        """Take joins, and what was taken back, as committed by whatever process since the last time.

        Returns:
            The profiles of anonymous ids that became current since.
        """
        with self._lock, self._database.read() as connection:
            revision = repository.revision_of(connection)
            if revision == self.revision:
                return []
            rows = repository.joined_since(connection, self.revision)
            if any(profile == repository.FORGOTTEN for profile, _, _ in rows):
                rows = repository.joined_since(connection, 0)
                self._persons = {}
                self.forgotten += 1
            self._take(rows)
            chosen = repository.chosen_since(connection, self.revision)
            self.revision = revision
            return chosen

    def _take(self, rows: Iterable[tuple[str, str, int]]) -> None:
        # All profiles of a person that changed are among them.
        by_canonical: dict[str, list[str]] = {}
        revisions: dict[str, int] = {}
        for profile, canonical, revision in rows:
            if profile == repository.FORGOTTEN:
                continue
            by_canonical.setdefault(canonical, []).append(profile)
            revisions[canonical] = max(revision, revisions.get(canonical, 0))
        for canonical, members in by_canonical.items():
            person = Person(canonical, tuple(sorted(members)), revisions[canonical])
            self._persons.update(dict.fromkeys(members, person))
