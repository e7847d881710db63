"""SQL of stages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from audiences.stages.tables import standings


def standing(connection: Connection, lifecycle: str) -> dict[str, tuple[str, datetime]]:
    """Return the stage of everybody in a lifecycle, and since when."""
    query = select(standings.c.user_id, standings.c.stage, standings.c.since).where(
        standings.c.lifecycle == lifecycle
    )
    return {user: (stage, since) for user, stage, since in connection.execute(query)}


def standing_of(connection: Connection, user_id: str) -> dict[str, tuple[str, datetime]]:
    """Return a user's stage in each lifecycle, and since when."""
    query = select(standings.c.lifecycle, standings.c.stage, standings.c.since).where(
        standings.c.user_id == user_id
    )
    return {lifecycle: (stage, since) for lifecycle, stage, since in connection.execute(query)}


def keep(connection: Connection, lifecycle: str, stages: Mapping[str, tuple[str, datetime]]) -> None:
    """Replace where users stand."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = insert(standings)
    rows = [
        {"lifecycle": lifecycle, "user_id": user, "stage": stage, "since": since}
        for user, (stage, since) in stages.items()
    ]
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["lifecycle", "user_id"],
            set_={"stage": statement.excluded.stage, "since": statement.excluded.since},
        ),
        rows,
    )
