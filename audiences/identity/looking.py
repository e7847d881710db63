"""Finds a person by whatever is known of them: a profile's id, or an identity."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from audiences.addresses import AddressKind
from audiences.errors import UnknownUser
from audiences.identity import repository
from audiences.identity.errors import UnknownIdentity, UnknownKind
from audiences.identity.ids import normalise, spelled
from audiences.identity.models import ANONYMOUS_ID, DEVICES, USER_ID, Identity
from audiences.identity.people import People
from audiences.texts import fit
from storage.engine import Database

# `kind:value` of the longest kind and value, and an anonymous profile of the longest id.
_MAX_TEXT = 400
# Senders name kinds as they like.
_KINDS_LISTED = 20


class Lookup:
    """Reads what is committed. Thread-safe."""

    def __init__(
        self, database: Database, people: People, phone_region: str = "", kinds: Iterable[str] = ()
    ) -> None:
        """Look in a database.

        Args:
            phone_region: ISO 3166 code of the country of phone numbers without a country code.
            kinds: of identities that somebody may have before anybody was known by one.
        """
        self._database = database
        self._people = people
        self._region = phone_region
        self._kinds = {USER_ID, ANONYMOUS_ID, *map(str, AddressKind), *DEVICES, *kinds}

    def identity(self, kind: str, value: str) -> Identity:
        """Return an identity in its one spelling; also `user_id` and `anonymous_id` are kinds here.

        Raises:
            UnknownIdentity: the value can't be one of this kind.
            UnknownKind: nobody was ever known by an identity of this kind, and nothing names it.
        """
        found = self._identity(kind, value)
        self._check_kind(kind)
        if found is None:
            raise UnknownIdentity(f"the value is no {kind!r}: write e-mail addresses and phone numbers whole")
        return found

    def persons(self, identity: Identity) -> list[str]:
        """Return the canonical ids of those an identity is verified to be of: one, unless it is shared."""
        with self._database.read() as connection:
            if identity.kind == USER_ID:
                profiles = list(repository.first_seen_of(connection, [identity.value]))
            elif identity.kind == ANONYMOUS_ID:
                all_ = repository.generations_of(connection, [identity.value]).get(identity.value, [])
                profiles = [max(all_, key=lambda one: one.chosen).profile] if all_ else []
            else:
                held = repository.holders_of(connection, [identity]).get(identity, {})
                profiles = [one.profile for one in held.values() if one.verified]
        return sorted({self._people.canonical(profile) for profile in profiles})

    def profile(self, text: str) -> str:
        """Return the profile that a text names: its id, or `kind:value` of an identity of one person.

        Raises:
            TextUnfit: it can name nobody.
            UnknownUser: there is none, or the identity is of several.
        """
        text = fit(text, "the user's id", _MAX_TEXT)
        with self._database.read() as connection:
            if repository.first_seen_of(connection, [text]):
                return text
        kind, colon, value = text.partition(":")
        if colon and (identity := self._identity(kind, value)) is not None:
            persons = self.persons(identity)
            if len(persons) == 1:
                return persons[0]
            if persons:
                several = ", ".join(map(repr, persons[:5]))
                raise UnknownUser(f"{text!r} is of {len(persons)} users, {several}: name one of them")
        raise UnknownUser(f"no event of a user {text!r} was ever recorded; check the id")

    def canonical(self, text: str) -> str:
        """Return the canonical id of whom a text names (see `profile`). Raises UnknownUser."""
        return self._people.canonical(self.profile(text))

    def _check_kind(self, asked: str) -> None:
        """Make sure that there are identities of a kind; one that was found once is known from then on."""
        kind = spelled(asked)
        if kind in self._kinds:
            return
        with self._database.read() as connection:
            if repository.is_kind(connection, kind):
                self._kinds.add(kind)
                return
            kinds = sorted({*self._kinds, *repository.kinds_of(connection, _KINDS_LISTED)})
        near = get_close_matches(kind, kinds, n=1)
        meant = f", did you mean {near[0]!r}?" if near else ";"
        raise UnknownKind(
            f"no identity of the kind {asked!r} was ever recorded{meant} the kinds are {', '.join(kinds)}; "
            "a new one is known from the first message with it on, or by NEXTPLAY_IDENTITIES"
        )

    def _identity(self, kind: str, value: str) -> Identity | None:
        return (
            Identity(kind, value) if kind in (USER_ID, ANONYMOUS_ID) else normalise(kind, value, self._region)
        )
