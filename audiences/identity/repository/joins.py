"""SQL of joins: what joined profiles, what was taken back, and the graph they make."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, insert, or_, select, update

from audiences.identity.graph import Graph
from audiences.identity.models import Cause, Identity, Join, Undone
from audiences.identity.repository.names import first_seen_of
from audiences.identity.repository.pieces import among, pieces
from audiences.identity.tables import joins


def undone_among(
    connection: Connection, evidence: Collection[Identity], profiles: Collection[str]
) -> set[tuple[frozenset[str], Identity | None]]:
    """Return ends and evidence of the joins that were taken back: by this evidence, or by alias of these."""
    found: set[tuple[frozenset[str], Identity | None]] = set()
    conditions = [among(joins, some) for some in pieces(evidence)]
    conditions += [and_(joins.c.kind.is_(None), joins.c.profile.in_(some)) for some in pieces(profiles)]
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
        for some in pieces(row):
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
