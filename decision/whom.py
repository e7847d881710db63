"""Of whom a decision is asked: a user by any of their ids, or by an identity."""

from __future__ import annotations

from audiences.identity.errors import UnknownIdentity
from audiences.identity.looking import Lookup
from audiences.identity.people import People
from decision.answers import SHARED_IDENTITY, UNKNOWN_USER, DecideRequest


class Whom:
    """Finds the one person a request means."""

    def __init__(self, people: People, lookup: Lookup) -> None:
        self._people, self._lookup = people, lookup

    def of(self, request: DecideRequest) -> tuple[str, str | None]:
        """Return the canonical id of the user asked about, or why nobody is found by the identity."""
        if request.identity is None:
            return self._people.canonical(request.user_id), None
        try:
            asked = self._lookup.identity(request.identity.kind, request.identity.value)
        except UnknownIdentity:
            return "", UNKNOWN_USER
        persons = self._lookup.persons(asked)
        if len(persons) == 1:
            return persons[0], None
        return "", SHARED_IDENTITY if persons else UNKNOWN_USER
