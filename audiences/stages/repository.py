"""SQL of stages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Column, Connection, Table, select

from audiences.stages.tables import account_standings, standings
from storage.upserts import insert_into


def standing(connection: Connection, lifecycle: str, *, of_accounts: bool) -> dict[str, tuple[str, datetime]]:
    """Return the stage of every user, or account, in a lifecycle, and since when."""
    table, whom = _of(of_accounts)
    query = select(whom, table.c.stage, table.c.since).where(table.c.lifecycle == lifecycle)
    return {one: (stage, since) for one, stage, since in connection.execute(query)}


def standing_of(connection: Connection, one: str, *, of_accounts: bool) -> dict[str, tuple[str, datetime]]:
    """Return the stage of one user, or account, in each lifecycle, and since when."""
    table, whom = _of(of_accounts)
    query = select(table.c.lifecycle, table.c.stage, table.c.since).where(whom == one)
    return {lifecycle: (stage, since) for lifecycle, stage, since in connection.execute(query)}


def keep(
    connection: Connection, lifecycle: str, stages: Mapping[str, tuple[str, datetime]], *, of_accounts: bool
) -> None:
    """Replace where users, or accounts, stand."""
    table, whom = _of(of_accounts)
    statement = insert_into(connection, table)
    rows = [
        {"lifecycle": lifecycle, whom.name: one, "stage": stage, "since": since}
        for one, (stage, since) in stages.items()
    ]
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["lifecycle", whom.name],
            set_={"stage": statement.excluded.stage, "since": statement.excluded.since},
        ),
        rows,
    )


def _of(accounts: bool) -> tuple[Table, Column[str]]:
    """The table, and its column of ids."""
    if accounts:
        return account_standings, account_standings.c.account_id
    return standings, standings.c.user_id
