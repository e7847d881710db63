"""Who owns a user, as traits say: those of the user's account first, then the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeGuard

from sqlalchemy import Connection

from audiences.accounts import repository as accounts
from audiences.identity.people import People
from audiences.traits.service import Traits
from delivery.people.assignment import Owned
from delivery.people.staff import OwnerTraits


class Owners(Protocol):
    """Says who owns users."""

    def of(self, connection: Connection, user_id: str) -> Owned | None:
        """Return whom traits name as the owner of a user, None if they name nobody."""
        ...

    def said(self, connection: Connection) -> Iterator[Owned]:
        """Yield whom traits name, of every account and of every user whose own trait says it."""
        ...

    def users(self, connection: Connection) -> Iterator[tuple[str, str, Owned]]:
        """Yield every user who is owned, with the account by which that is so, "" if by none."""
        ...


class NoOwners:
    """Nobody owns anybody."""

    def of(self, connection: Connection, user_id: str) -> Owned | None:
        return None

    def said(self, connection: Connection) -> Iterator[Owned]:
        yield from ()

    def users(self, connection: Connection) -> Iterator[tuple[str, str, Owned]]:
        yield from ()


class TraitOwners:
    """Reads them from traits, as CRMs and backends told them."""

    def __init__(self, names: OwnerTraits, traits: Traits, people: People) -> None:
        """`names` are the traits that say it, `people` know which profiles are one person."""
        self._names, self._traits, self._people = names, traits, people

    def of(self, connection: Connection, user_id: str) -> Owned | None:
        if self._names.account_trait is not None:
            found = accounts.accounts_of(connection, self._people.members(user_id))
            if found:
                account = found[0].account_id
                said = accounts.traits_of(connection, [account])[account].get(self._names.account_trait)
                if _names_somebody(said):
                    return Owned(said, account)
        if self._names.user_trait is not None:
            trait = self._traits.held(connection, user_id).get(self._names.user_trait)
            if trait is not None and _names_somebody(trait.value):
                return Owned(trait.value, user_id)
        return None

    def said(self, connection: Connection) -> Iterator[Owned]:
        yield from self._of_accounts(connection).values()
        yield from self._of_users(connection).values()

    def users(self, connection: Connection) -> Iterator[tuple[str, str, Owned]]:
        by_account, own = self._of_accounts(connection), self._of_users(connection)
        primary: dict[str, accounts.Membership] = {}
        for one in accounts.memberships(connection) if by_account else ():
            user = self._people.canonical(one.profile)
            if user not in primary or accounts.precedence(one) > accounts.precedence(primary[user]):
                primary[user] = one
        for user in sorted({*primary, *own}):
            account = primary[user].account_id if user in primary else ""
            if account in by_account:
                yield user, account, by_account[account]
            elif user in own:
                yield user, "", own[user]

    def _of_accounts(self, connection: Connection) -> dict[str, Owned]:
        if (name := self._names.account_trait) is None:
            return {}
        told = accounts.traits_of(connection, None)
        return {
            account: Owned(said, account)
            for account, traits in told.items()
            if _names_somebody(said := traits.get(name))
        }

    def _of_users(self, connection: Connection) -> dict[str, Owned]:
        if (name := self._names.user_trait) is None:
            return {}
        told = self._traits.everyone(connection, name)
        return {
            user: Owned(said, user)
            for profile, said in told.items()
            if _names_somebody(said) and (user := self._people.canonical(profile))
        }


def _names_somebody(said: Any) -> TypeGuard[str]:
    return isinstance(said, str) and bool(said)
