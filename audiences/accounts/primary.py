"""The primary account of persons, for those who select and who compute features of accounts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from audiences.accounts import repository
from audiences.identity.people import People
from feature_repo.columns import column_array
from feature_repo.schema import Scalar
from storage.engine import Database

# Parameters of one query, and users from which on all members are read at once instead.
_A_QUERY, _MANY = 500, 5_000


class Accounts(Protocol):
    """Which account is a user's primary one, who shares it, and what is said of it."""

    def of(self, users: Collection[str]) -> Mapping[str, str]:
        """The primary account of those users who have one; users are canonical ids."""
        ...

    def colleagues(self, users: Collection[str]) -> set[str]:
        """Everybody whose primary account is that of one of these users, they themselves included."""
        ...

    def moved_since(self, moment: datetime) -> set[str]:
        """The users of whom an operator chose the primary account at a moment or later."""
        ...

    def told_after(self, position: int) -> set[str]:
        """The users of accounts of which something was told after a position of the ledger."""
        ...

    def traits(self, accounts: Sequence[str | None]) -> dict[str, pa.Array]:
        """The traits of accounts that rules may name, as they are now: by name, in the order of accounts.

        A value of another type than the trait's is null, and so is everything where there is no account.
        """
        ...


class NoAccounts:
    """Nobody belongs to an account."""

    def of(self, users: Collection[str]) -> Mapping[str, str]:
        return {}

    def colleagues(self, users: Collection[str]) -> set[str]:
        return set()

    def moved_since(self, moment: datetime) -> set[str]:
        return set()

    def told_after(self, position: int) -> set[str]:
        return set()

    def traits(self, accounts: Sequence[str | None]) -> dict[str, pa.Array]:
        return {}


class PrimaryAccounts:
    """Reads them from the database: a person belongs to the accounts of all profiles."""

    def __init__(
        self, database: Database, people: People, traits: Mapping[str, Scalar] | None = None
    ) -> None:
        """`traits` are the types of those that rules may name."""
        self._database = database
        self._people = people
        self._traits = traits or {}

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
        return self.users_of(set(self.of(users).values()))

    def users_of(self, accounts: Collection[str]) -> set[str]:
        """Everybody whose primary account is one of these."""
        with self._database.read() as connection:
            members = [
                profile
                for some in _some(sorted(accounts))
                for profile in repository.profiles_in(connection, some)
            ]
        primary = self.of({self._people.canonical(profile) for profile in members})
        return {user for user, account in primary.items() if account in accounts}

    def moved_since(self, moment: datetime) -> set[str]:
        with self._database.read() as connection:
            return set(map(self._people.canonical, repository.chosen_since(connection, moment)))

    def told_after(self, position: int) -> set[str]:
        with self._database.read() as connection:
            told = repository.told_after(connection, position)
        return self.users_of(told)

    def traits(self, accounts: Sequence[str | None]) -> dict[str, pa.Array]:
        if not self._traits:
            return {}
        wanted = sorted({account for account in accounts if account is not None})
        with self._database.read() as connection:
            shares: list[Sequence[str] | None] = [None] if len(wanted) > _MANY else [*_some(wanted)]
            said: dict[str, dict[str, Any]] = {}
            for some in shares:
                said |= repository.traits_of(connection, some)
        places = {account: place for place, account in enumerate(wanted)}
        rows = pa.array([None if one is None else places[one] for one in accounts], pa.int64())
        # What is said of an account is looked at once, however many users it has.
        return {
            name: column_array([said.get(one, {}).get(name) for one in wanted], type_)[0].take(rows)
            for name, type_ in self._traits.items()
        }

    def _primary(self, memberships: Collection[repository.Membership]) -> dict[str, str]:
        best: dict[str, repository.Membership] = {}
        for one in memberships:
            user = self._people.canonical(one.profile)
            if user not in best or repository.precedence(one) > repository.precedence(best[user]):
                best[user] = one
        return {user: one.account_id for user, one in best.items()}


def _some(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[start : start + _A_QUERY] for start in range(0, len(names), _A_QUERY)]
