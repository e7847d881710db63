"""SQL of names: who holds which identity, the profiles of anonymous ids, identities that join nobody."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, literal, or_, select, true

from audiences.identity.models import Generation, Held, Identity
from audiences.identity.repository.pieces import among, pieces
from audiences.identity.tables import anonymous_profiles, identities, shared_identities
from audiences.tables import users
from storage.schema import erasures
from storage.upserts import insert_into


def generations_of(connection: Connection, anonymous_ids: Collection[str]) -> dict[str, list[Generation]]:
    """Return the profiles of anonymous ids, by number."""
    found: dict[str, list[Generation]] = {}
    for some in pieces(anonymous_ids):
        query = select(anonymous_profiles).where(anonymous_profiles.c.anonymous_id.in_(some))
        for row in connection.execute(query.order_by(anonymous_profiles.c.number)):
            found.setdefault(row.anonymous_id, []).append(Generation(*row))
    return found


def holders_of(connection: Connection, wanted: Collection[Identity]) -> dict[Identity, dict[str, Held]]:
    """Return who holds these identities, by profile."""
    found: dict[Identity, dict[str, Held]] = {}
    for some in pieces(wanted):
        query = select(identities).where(among(identities, some)).order_by(identities.c.first_seen_at)
        for held in map(_held, connection.execute(query)):
            found.setdefault(held.identity, {})[held.profile] = held
    return found


def is_kind(connection: Connection, kind: str) -> bool:
    """Whether somebody was ever known by an identity of this kind."""
    found = select(literal(1)).where(identities.c.kind == kind).limit(1)
    return connection.execute(found).first() is not None


def kinds_of(connection: Connection, most: int) -> list[str]:
    """Return kinds that somebody was known by, the first so many in their order."""
    found: list[str] = []
    while len(found) < most:
        # One look into the index each, however many identities are of it.
        after = identities.c.kind > found[-1] if found else true()
        kind = connection.execute(select(func.min(identities.c.kind)).where(after)).scalar()
        if kind is None:
            break
        found.append(kind)
    return found


def held_by(connection: Connection, profiles: Collection[str]) -> list[Held]:
    """Return the identities that profiles hold, in the order in which they were first seen."""
    found: list[Held] = []
    for some in pieces(profiles):
        query = select(identities).where(identities.c.profile.in_(some))
        found += map(_held, connection.execute(query))
    return sorted(found, key=lambda held: (held.first_seen, held.identity, held.profile))


def shared_among(connection: Connection, wanted: Collection[Identity]) -> dict[Identity, str]:
    """Return those identities that join nobody, and why."""
    found: dict[Identity, str] = {}
    for some in pieces(wanted):
        query = select(shared_identities).where(among(shared_identities, some))
        found.update({Identity(row.kind, row.value): row.reason for row in connection.execute(query)})
    return found


def first_seen_of(connection: Connection, profiles: Collection[str]) -> dict[str, datetime]:
    """Return which of these profiles exist, and since when."""
    found: dict[str, datetime] = {}
    for some in pieces(profiles):
        query = select(users.c.user_id, users.c.first_seen_at).where(users.c.user_id.in_(some))
        found.update((row.user_id, row.first_seen_at) for row in connection.execute(query))
    return found


def being_erased(connection: Connection, profiles: Collection[str]) -> frozenset[str]:
    """Return which of these are being erased."""
    query = select(erasures.c.user_id).where(erasures.c.user_id.in_(sorted(profiles)))
    return frozenset(connection.execute(query).scalars())


def chosen_since(connection: Connection, revision: int) -> list[Generation]:
    """Return the profiles of anonymous ids that became current after a revision."""
    query = select(anonymous_profiles).where(anonymous_profiles.c.chosen > revision)
    return [Generation(*row) for row in connection.execute(query.order_by(anonymous_profiles.c.chosen))]


def record_held(connection: Connection, held: Collection[Held]) -> None:
    """Keep that profiles hold identities; one that is verified stays so."""
    if not held:
        return
    statement = insert_into(connection, identities)
    verified = or_(identities.c.verified, statement.excluded.verified)
    rows = [
        {
            "kind": one.identity.kind,
            "value": one.identity.value,
            "profile": one.profile,
            "verified": one.verified,
            "first_seen_at": one.first_seen,
            "source": one.source,
        }
        for one in held
    ]
    keys = ["kind", "value", "profile"]
    connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_={"verified": verified}), rows
    )


def record_chosen(connection: Connection, chosen: Collection[Generation]) -> None:
    """Keep the profiles of anonymous ids and which is current."""
    if not chosen:
        return
    statement = insert_into(connection, anonymous_profiles)
    rows = [
        {"anonymous_id": one.anonymous_id, "number": one.number, "profile": one.profile, "chosen": one.chosen}
        for one in chosen
    ]
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["anonymous_id", "number"], set_={"chosen": statement.excluded.chosen}
        ),
        rows,
    )


def record_shared(connection: Connection, identity: Identity, since: datetime, reason: str) -> None:
    """Keep that an identity joins nobody from now on."""
    statement = insert_into(connection, shared_identities).values(
        kind=identity.kind, value=identity.value, since=since, reason=reason
    )
    connection.execute(statement.on_conflict_do_nothing())


def _held(row: Row[Any]) -> Held:
    return Held(row.profile, Identity(row.kind, row.value), row.verified, row.first_seen_at, row.source)
