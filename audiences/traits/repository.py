"""SQL of traits."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, select

from audiences.traits.models import Trait
from audiences.traits.tables import traits
from storage.upserts import insert_into


def keep(connection: Connection, told: Sequence[Trait]) -> None:
    """Keep what sources tell; an older word of the same source on a trait is replaced, a newer stays."""
    if not told:
        return
    rows = [
        {
            "user_id": one.user_id,
            "name": one.name,
            "source": one.source,
            "value": msgspec.json.encode(one.value).decode(),
            "at": one.at,
        }
        # In one order everywhere, so that no two transactions wait for each other's rows.
        for one in sorted(told, key=lambda one: (one.user_id, one.name, one.source))
    ]
    statement = insert_into(connection, traits)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["user_id", "name", "source"],
            set_={"value": statement.excluded.value, "at": statement.excluded.at},
            where=statement.excluded.at >= traits.c.at,
        ),
        rows,
    )


def named(connection: Connection, name: str) -> list[Trait]:
    """Return what every source says of a trait, of all users."""
    return [
        Trait(row.user_id, row.name, msgspec.json.decode(row.value), row.source, row.at)
        for row in connection.execute(select(traits).where(traits.c.name == name).order_by(traits.c.user_id))
    ]


def of_users(
    connection: Connection, user_ids: Sequence[str], names: Sequence[str] | None = None
) -> list[Trait]:
    """Return what every source says of these users, of all traits or of some."""
    query = select(traits).where(traits.c.user_id.in_(user_ids))
    if names is not None:
        query = query.where(traits.c.name.in_(names))
    return [
        Trait(row.user_id, row.name, msgspec.json.decode(row.value), row.source, row.at)
        for row in connection.execute(query.order_by(traits.c.name, traits.c.source, traits.c.user_id))
    ]
