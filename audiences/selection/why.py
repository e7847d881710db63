"""Why a user is in an audience or not: the part of the rule that decided, or the audiences it is made of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from audiences.errors import UnknownUser
from audiences.rules import trace
from audiences.selection import repository
from audiences.selection.service import Audiences
from storage.engine import Database


def why(
    database: Database, audiences: Audiences, audience: str, user_id: str, now: datetime
) -> dict[str, Any]:
    """Say whether a user is in an audience, whether its definition holds now, and what decided.

    Raises:
        UnknownAudience: there is no such audience.
        UnknownUser: nobody has that id.
        feature_repo.errors.SnapshotMissing: no features were computed yet.
    """
    catalog = audiences.catalogs.read()
    spec = catalog.spec(audience)
    user = audiences.canonical(user_id)
    with database.read() as connection:
        number = repository.numbers_of(connection, [user]).get(user)
    if number is None:
        raise UnknownUser(f"nothing is known of a user {user_id!r}; check the id")
    inside, live = audiences.memberships.of(user), audiences.memberships.live.get(audience)
    told: dict[str, Any] = {
        "audience": audience,
        "user_id": user,
        "member": audience in inside,
        "as_of": None if live is None else live.as_of,
        "parts": None,
    }
    rule = catalog.definitions.rules.get(audience)
    if rule is not None:
        ((values, tags),) = audiences.population.values([user], rule.tags, now)
        found = trace(rule, values, tags=tags, audiences=inside, now=now)
        return {**told, "holds": found.truth, "because": found.words, "parts": msgspec.to_builtins(found)}
    if spec.sets is not None:
        of = {name: name in inside for name in sorted(spec.sets.names())}
        said = "; ".join(f"the user is {'' if there else 'not '}in {name}" for name, there in of.items())
        return {**told, "holds": audience in inside, "because": said}
    if audience in catalog.problems:
        return {**told, "holds": None, "because": catalog.problems[audience]}
    word = "" if audience in inside else "not "
    return {**told, "holds": audience in inside, "because": f"the user is {word}on the list"}
