"""Of whom a decision is asked: a user by any of their ids, or by an identity."""

from __future__ import annotations

from audiences.errors import TextUnfit
from audiences.identity.errors import UnknownIdentity
from audiences.identity.looking import Lookup
from audiences.identity.people import People
from audiences.texts import MAX_ID_LENGTH
from decision.answers import SHARED_IDENTITY, UNKNOWN_USER, DecideRequest


class Whom:
    """Finds the one person a request means."""

    def __init__(self, people: People, lookup: Lookup) -> None:
        self._people, self._lookup = people, lookup

    def of(self, request: DecideRequest) -> tuple[str, str | None]:
        """Return the canonical id of the user asked about, or why nobody is found by the identity.

        Raises:
            TextUnfit: nobody can have the id.
            NextplayError: the identity can't be one.
        """
        if request.identity is None:
            user = request.user_id
            if not isinstance(user, str):
                # A program in whose own process it is decided may say anything.
                raise TextUnfit(f"the user's id must be text, not {user!r}: write it as text")
            if not 0 < len(user) <= MAX_ID_LENGTH:
                raise TextUnfit(
                    f"the user's id must have 1 to {MAX_ID_LENGTH} characters, it has {len(user)}"
                )
            if "\x00" in user:
                # Postgres would refuse it, and with it whoever is decided for in the same transaction.
                raise TextUnfit("the user's id has the character U+0000 in it: leave it out")
            return self._people.canonical(user), None
        try:
            asked = self._lookup.identity(request.identity.kind, request.identity.value)
        except UnknownIdentity:
            return "", UNKNOWN_USER
        persons = self._lookup.persons(asked)
        if len(persons) == 1:
            return persons[0], None
        return "", SHARED_IDENTITY if persons else UNKNOWN_USER
