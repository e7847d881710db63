"""SQL of persons: under which id each profile that was ever joined goes, and since which revision."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from audiences.identity.tables import anonymous_profiles, joined_profiles
from storage.upserts import insert_into

# A row of no profile, whose revision is that of the latest erasure.
FORGOTTEN = ""


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


def record_canonicals(connection: Connection, canonicals: dict[str, str], revision: int) -> None:
    """Keep under which id profiles go."""
    if not canonicals:
        return
    statement = insert_into(connection, joined_profiles)
    rows = [
        {"profile": profile, "canonical": canonical, "revision": revision}
        for profile, canonical in sorted(canonicals.items())
    ]
    renewed = {name: statement.excluded[name] for name in ("canonical", "revision")}
    connection.execute(statement.on_conflict_do_update(index_elements=["profile"], set_=renewed), rows)
