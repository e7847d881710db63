"""Of whom a decision is asked: a user by any of their ids, or by an identity."""

from __future__ import annotations

from audiences.identity.errors import UnknownIdentity
from audiences.identity.looking import Lookup
from audiences.identity.people import People
from audiences.texts import MAX_ID_LENGTH
from decision.answers import SHARED_IDENTITY, UNKNOWN_USER, DecideRequest
from decision.errors import BadRequest


class Whom:
    """Finds the one person a request means."""

    def __init__(self, people: People, lookup: Lookup) -> None:
        self._people, self._lookup = people, lookup

    def of(self, request: DecideRequest) -> tuple[str, str | None]:
        """Return the canonical id of the user asked about, or why nobody is found by the identity.

        Raises:
            BadRequest: nobody can have the id.
            NextplayError: the identity can't be one.
        """
        if request.identity is None:
            user = request.user_id
            if len(user) > MAX_ID_LENGTH:
                raise BadRequest(
                    f"user_id: an id has at most {MAX_ID_LENGTH} characters, this one {len(user)}"
                )
            if "\x00" in user:
                # Not only Postgres would refuse it: with it whoever is decided for in the same transaction.
                raise BadRequest("user_id: an id can't have the character U+0000")
            return self._people.canonical(user), None
        try:
            asked = self._lookup.identity(request.identity.kind, request.identity.value)
        except UnknownIdentity:
            return "", UNKNOWN_USER
        persons = self._lookup.persons(asked)
        if len(persons) == 1:
            return persons[0], None
        return "", SHARED_IDENTITY if persons else UNKNOWN_USER
