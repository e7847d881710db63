"""SQL of identity: what is known of those that messages name, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar
from zlib import crc32

from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    Row,
    Select,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from audiences.identity.graph import Graph
from audiences.identity.models import Cause, Generation, Held, Identity, Join, Undone
from audiences.identity.tables import (
    anonymous_profiles,
    identities,
    joined_profiles,
    joins,
    shared_identities,
)
from audiences.tables import users
from storage.schema import erasures

T = TypeVar("T")

# A row of no profile, whose revision is that of the latest erasure.
FORGOTTEN = ""

# Names in one IN list: below the limit on variables of every SQLite in use.
_IN_LIST = 300
# Advisory locks on Postgres: any number that nobody else uses, and how many keys share a lock. Few enough
# that a turn of new names does not fill the server's table of locks.
_LOCKS = 0x6E70_6964
_BUCKETS = 128
# Taken last, by whoever joins or takes apart.
_JOINING = _BUCKETS


def lock(connection: Connection, keys: Collection[str]) -> None:
    """Let one transaction at a time look at and change what is known of these names (Postgres)."""
    _hold(connection, sorted({crc32(key.encode()) % _BUCKETS for key in keys}))


def lock_joining(connection: Connection) -> None:
    """Let one transaction at a time join or take apart; to be taken after `lock`, never before."""
    _hold(connection, [_JOINING])


def generations_of(connection: Connection, anonymous_ids: Collection[str]) -> dict[str, list[Generation]]:
    """Return the profiles of anonymous ids, by number."""
    found: dict[str, list[Generation]] = {}
    for some in _pieces(anonymous_ids):
        query = select(anonymous_profiles).where(anonymous_profiles.c.anonymous_id.in_(some))
        for row in connection.execute(query.order_by(anonymous_profiles.c.number)):
            found.setdefault(row.anonymous_id, []).append(Generation(*row))
    return found


def holders_of(connection: Connection, wanted: Collection[Identity]) -> dict[Identity, dict[str, Held]]:
    """Return who holds these identities, by profile."""
    found: dict[Identity, dict[str, Held]] = {}
    for some in _pieces(wanted):
        query = select(identities).where(_among(identities, some)).order_by(identities.c.first_seen_at)
        for held in map(_held, connection.execute(query)):
            found.setdefault(held.identity, {})[held.profile] = held
    return found


def held_by(connection: Connection, profiles: Collection[str]) -> list[Held]:
    """Return the identities that profiles hold, in the order in which they were first seen."""
    found: list[Held] = []
    for some in _pieces(profiles):
        query = select(identities).where(identities.c.profile.in_(some))
        found += map(_held, connection.execute(query))
    return sorted(found, key=lambda held: (held.first_seen, held.identity, held.profile))


def shared_among(connection: Connection, wanted: Collection[Identity]) -> dict[Identity, str]:
    """Return those identities that join nobody, and why."""
    found: dict[Identity, str] = {}
    for some in _pieces(wanted):
        query = select(shared_identities).where(_among(shared_identities, some))
        found.update({Identity(row.kind, row.value): row.reason for row in connection.execute(query)})
    return found


def undone_among(
    connection: Connection, evidence: Collection[Identity], profiles: Collection[str]
) -> set[tuple[frozenset[str], Identity | None]]:
    """Return ends and evidence of the joins that were taken back: by this evidence, or by alias of these."""
    found: set[tuple[frozenset[str], Identity | None]] = set()
    conditions = [_among(joins, some) for some in _pieces(evidence)]
    conditions += [and_(joins.c.kind.is_(None), joins.c.profile.in_(some)) for some in _pieces(profiles)]
    for condition in conditions:
        query = select(joins).where(joins.c.undone_at.is_not(None), condition)
        found.update(
            (frozenset((join.profile, join.into)), join.evidence)
            for join in map(_join, connection.execute(query))
        )
    return found


def graph_of(connection: Connection, profiles: Collection[str]) -> Graph:
    """Return those profiles that exist, all that are joined with them, and the joins."""
    found: dict[str, Join] = {}
    reached, row = set(profiles), set(profiles)
    while row:
        ends: set[str] = set()
        for some in _pieces(row):
            query = select(joins).where(
                joins.c.undone_at.is_(None), or_(joins.c.profile.in_(some), joins.c.into_profile.in_(some))
            )
            for join in map(_join, connection.execute(query)):
                found[join.id] = join
                ends |= {join.profile, join.into}
        row = ends - reached
        reached |= row
    first_seen = first_seen_of(connection, reached)
    for join in found.values():
        for end in (join.profile, join.into):
            first_seen.setdefault(end, join.joined_at)
    return Graph(first_seen, found.values())


def first_seen_of(connection: Connection, profiles: Collection[str]) -> dict[str, datetime]:
    """Return which of these profiles exist, and since when."""
    found: dict[str, datetime] = {}
    for some in _pieces(profiles):
        query = select(users.c.user_id, users.c.first_seen_at).where(users.c.user_id.in_(some))
        found.update((row.user_id, row.first_seen_at) for row in connection.execute(query))
    return found


def being_erased(connection: Connection, profiles: Collection[str]) -> frozenset[str]:
    """Return which of these are being erased."""
    query = select(erasures.c.user_id).where(erasures.c.user_id.in_(sorted(profiles)))
    return frozenset(connection.execute(query).scalars())


def revision_of(connection: Connection) -> int:
    """Return the number of the latest change of persons or of the users of anonymous ids."""
    row = connection.execute(
        select(
            select(func.max(joined_profiles.c.revision)).scalar_subquery(),
            select(func.max(anonymous_profiles.c.chosen)).scalar_subquery(),
        )
    ).one()
    return max(row[0] or 0, row[1] or 0)


def members_of(connection: Connection, profile: str) -> list[str]:
    """Return all profiles of the person that a profile belongs to, none if it was never joined."""
    one, other = joined_profiles.alias(), joined_profiles.alias()
    query = select(other.c.profile).join(one, one.c.canonical == other.c.canonical)
    return list(connection.execute(query.where(one.c.profile == profile).order_by(other.c.profile)).scalars())


def joined_since(connection: Connection, revision: int) -> list[tuple[str, str, int]]:
    """Return all profiles of the persons that changed after a revision: profile, canonical id, revision."""
    query = select(joined_profiles)
    if revision:
        # Of a person that changed at least one row did.
        changed = select(joined_profiles.c.canonical).where(joined_profiles.c.revision > revision)
        query = query.where(joined_profiles.c.canonical.in_(changed))
    return [(row.profile, row.canonical, row.revision) for row in connection.execute(query)]


def chosen_since(connection: Connection, revision: int) -> list[Generation]:
    """Return the profiles of anonymous ids that became current after a revision."""
    query = select(anonymous_profiles).where(anonymous_profiles.c.chosen > revision)
    return [Generation(*row) for row in connection.execute(query.order_by(anonymous_profiles.c.chosen))]


def record_held(connection: Connection, held: Collection[Held]) -> None:
    """Keep that profiles hold identities; one that is verified stays so."""
    if not held:
        return
    statement = _insert(connection, identities)
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
    statement = _insert(connection, anonymous_profiles)
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


def record_joins(connection: Connection, made: Sequence[Join]) -> None:
    """Keep joins."""
    if not made:
        return
    rows = [
        {
            "id": one.id,
            "profile": one.profile,
            "into_profile": one.into,
            "cause": one.cause.value,
            "kind": one.evidence.kind if one.evidence else None,
            "value": one.evidence.value if one.evidence else None,
            "message_id": one.message_id,
            "by_whom": one.by,
            "why": one.why,
            "joined_at": one.joined_at,
        }
        for one in made
    ]
    connection.execute(insert(joins), rows)


def record_undone(connection: Connection, join_id: str, undone: Undone) -> None:
    """Keep that a join was taken back."""
    connection.execute(
        update(joins)
        .where(joins.c.id == join_id)
        .values(undone_at=undone.at, undone_by=undone.by, undone_why=undone.why)
    )


def record_shared(connection: Connection, identity: Identity, since: datetime, reason: str) -> None:
    """Keep that an identity joins nobody from now on."""
    statement = _insert(connection, shared_identities).values(
        kind=identity.kind, value=identity.value, since=since, reason=reason
    )
    connection.execute(statement.on_conflict_do_nothing())


def record_canonicals(connection: Connection, canonicals: dict[str, str], revision: int) -> None:
    """Keep under which id profiles go."""
    if not canonicals:
        return
    statement = _insert(connection, joined_profiles)
    rows = [
        {"profile": profile, "canonical": canonical, "revision": revision}
        for profile, canonical in sorted(canonicals.items())
    ]
    renewed = {name: statement.excluded[name] for name in ("canonical", "revision")}
    connection.execute(statement.on_conflict_do_update(index_elements=["profile"], set_=renewed), rows)


def join_of(connection: Connection, join_id: str) -> tuple[Join, Undone | None] | None:
    """Return a join and whether it was taken back, or None."""
    row = connection.execute(select(joins).where(joins.c.id == join_id)).first()
    return None if row is None else (_join(row), _undone(row))


def joins_page(
    connection: Connection, *, before: str | None, limit: int, profiles: Collection[str] | None = None
) -> list[tuple[Join, Undone | None]]:
    """Return joins, the latest first: those made before the join `before`, of all or of these profiles."""
    query: Select[Any] = select(joins).order_by(joins.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(joins.c.id < before)
    if profiles is not None:
        names = sorted(profiles)
        query = query.where(or_(joins.c.profile.in_(names), joins.c.into_profile.in_(names)))
    return [(_join(row), _undone(row)) for row in connection.execute(query)]


def forget(connection: Connection, profiles: Collection[str]) -> int:
    """Delete what identity keeps of profiles, and of ids that only they had; returns how many rows.

    For erasure, which also has to erase their facts.
    """
    gone = 0
    lock_joining(connection)
    revision = revision_of(connection) + 1
    for some in _pieces(profiles):
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


def _join(row: Row[Any]) -> Join:
    return Join(
        id=row.id,
        profile=row.profile,
        into=row.into_profile,
        cause=Cause(row.cause),
        joined_at=row.joined_at,
        evidence=Identity(row.kind, row.value) if row.kind is not None else None,
        message_id=row.message_id,
        by=row.by_whom,
        why=row.why,
    )


def _undone(row: Row[Any]) -> Undone | None:
    return None if row.undone_at is None else Undone(row.undone_at, row.undone_by, row.undone_why)


def _held(row: Row[Any]) -> Held:
    return Held(row.profile, Identity(row.kind, row.value), row.verified, row.first_seen_at, row.source)


def _among(table: Any, wanted: Sequence[Identity]) -> Any:
    return tuple_(table.c.kind, table.c.value).in_([(one.kind, one.value) for one in wanted])


def _hold(connection: Connection, buckets: Sequence[int]) -> None:
    if buckets and connection.dialect.name == "postgresql":
        # One after the other, in the order of the list.
        numbers = func.unnest(literal(list(buckets), ARRAY(Integer))).column_valued("number")
        connection.execute(select(func.pg_advisory_xact_lock(_LOCKS, numbers)))


def _pieces(names: Collection[T]) -> Iterator[Sequence[T]]:
    ordered = sorted(names)  # type: ignore[type-var]
    for start in range(0, len(ordered), _IN_LIST):
        yield ordered[start : start + _IN_LIST]


def _insert(connection: Connection, table: Any) -> Any:
    return sqlite_insert(table) if connection.dialect.name == "sqlite" else postgres_insert(table)
