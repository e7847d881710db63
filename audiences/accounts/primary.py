"""The primary account of persons, for those who select and who compute features of accounts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from audiences.accounts import repository
from audiences.identity.people import People
from storage.engine import Database

# Parameters of one query, and users from which on all members are read at once instead.
_A_QUERY, _MANY = 500, 5_000


class Accounts(Protocol):
    """Which account is a user's primary one, and who shares it."""

    def of(self, users: Collection[str]) -> Mapping[str, str]:
        """The primary account of those users who have one; users are canonical ids."""
        ...

    def colleagues(self, users: Collection[str]) -> set[str]:
        """Everybody whose primary account is that of one of these users, they themselves included."""
        ...

    def moved_since(self, moment: datetime) -> set[str]:
        """The users of whom an operator chose the primary account at a moment or later."""
        ...


class NoAccounts:
    """Nobody belongs to an account."""

    def of(self, users: Collection[str]) -> Mapping[str, str]:
        return {}

    def colleagues(self, users: Collection[str]) -> set[str]:
        return set()

    def moved_since(self, moment: datetime) -> set[str]:
        return set()


class PrimaryAccounts:
    """Reads them from the database: a person belongs to the accounts of all profiles."""

    def __init__(self, database: Database, people: People) -> None:
        self._database = database
        self._people = people

    def everyone(self) -> dict[str, str]:
        """The primary account of every user who has one."""
        with self._database.read() as connection:
            return self._primary(repository.memberships(connection))

    def of(self, users: Collection[str]) -> dict[str, str]:
        if len(users) > _MANY:
            everyone = self.everyone()
            return {user: everyone[user] for user in users if user in everyone}
        profiles = [profile for user in users for profile in self._people.members(user)]
        with self._database.read() as connection:
            found = [one for some in _some(profiles) for one in repository.accounts_of(connection, some)]
        return self._primary(found)

    def colleagues(self, users: Collection[str]) -> set[str]:
        accounts = sorted(set(self.of(users).values()))
        with self._database.read() as connection:
            members = [
                profile for some in _some(accounts) for profile in repository.profiles_in(connection, some)
            ]
        primary = self.of({self._people.canonical(profile) for profile in members})
        return {user for user, account in primary.items() if account in set(accounts)}

    def moved_since(self, moment: datetime) -> set[str]:
        with self._database.read() as connection:
            return set(map(self._people.canonical, repository.chosen_since(connection, moment)))

    def _primary(self, memberships: Collection[repository.Membership]) -> dict[str, str]:
        best: dict[str, repository.Membership] = {}
        for one in memberships:
            user = self._people.canonical(one.profile)
            if user not in best or repository.precedence(one) > repository.precedence(best[user]):
                best[user] = one
        return {user: one.account_id for user, one in best.items()}


def _some(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[start : start + _A_QUERY] for start in range(0, len(names), _A_QUERY)]
