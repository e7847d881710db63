"""SQL of identity: names, joins and persons, each a module."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, or_, select

from audiences.identity.repository.joins import (
    graph_of,
    join_of,
    joins_page,
    record_joins,
    record_undone,
    undone_among,
)
from audiences.identity.repository.locks import lock, lock_joining
from audiences.identity.repository.names import (
    being_erased,
    chosen_since,
    first_seen_of,
    generations_of,
    held_by,
    holders_of,
    is_kind,
    kinds_of,
    record_chosen,
    record_held,
    record_shared,
    shared_among,
)
from audiences.identity.repository.persons import (
    FORGOTTEN,
    joined_since,
    members_of,
    record_canonicals,
    revision_of,
)
from audiences.identity.repository.pieces import pieces
from audiences.identity.tables import (
    anonymous_profiles,
    identities,
    joined_profiles,
    joins,
    shared_identities,
)

__all__ = [
    "FORGOTTEN",
    "being_erased",
    "chosen_since",
    "first_seen_of",
    "forget",
    "generations_of",
    "graph_of",
    "held_by",
    "holders_of",
    "is_kind",
    "join_of",
    "joined_since",
    "joins_page",
    "kinds_of",
    "lock",
    "lock_joining",
    "members_of",
    "record_canonicals",
    "record_chosen",
    "record_held",
    "record_joins",
    "record_shared",
    "record_undone",
    "revision_of",
    "shared_among",
    "undone_among",
]


def forget(connection: Connection, profiles: Collection[str]) -> int:
    """Delete what identity keeps of profiles, and of ids that only they had; returns how many rows.

    For erasure, which also has to erase their facts.
    """
    gone = 0
    lock_joining(connection)
    revision = revision_of(connection) + 1
    for some in pieces(profiles):
        named = select(identities.c.kind, identities.c.value).where(identities.c.profile.in_(some))
        held = {(kind, value) for kind, value in connection.execute(named)}
        ends = or_(joins.c.profile.in_(some), joins.c.into_profile.in_(some))
        for table, theirs in (
            (identities, identities.c.profile.in_(some)),
            (anonymous_profiles, anonymous_profiles.c.profile.in_(some)),
            (joins, ends),
            (joined_profiles, joined_profiles.c.profile.in_(some)),
        ):
            gone += connection.execute(delete(table).where(theirs)).rowcount
        for kind, value in held:
            this = shared_identities.c.kind == kind, shared_identities.c.value == value
            left = select(identities.c.profile).where(identities.c.kind == kind, identities.c.value == value)
            gone += connection.execute(delete(shared_identities).where(*this, ~left.exists())).rowcount
    # Revisions go on growing when the rows with the highest are gone, and those who follow read anew.
    record_canonicals(connection, {FORGOTTEN: FORGOTTEN}, revision)
    return gone
