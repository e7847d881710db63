"""Who owns a user, as traits say: those of the user's account first, then the user's own."""

from __future__ import annotations

from typing import Protocol

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


class NoOwners:
    """Nobody owns anybody."""

    def of(self, connection: Connection, user_id: str) -> Owned | None:
        return None


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
                if isinstance(said, str) and said:
                    return Owned(said, account)
        if self._names.user_trait is not None:
            trait = self._traits.held(connection, user_id).get(self._names.user_trait)
            if trait is not None and isinstance(trait.value, str) and trait.value:
                return Owned(trait.value, user_id)
        return None
