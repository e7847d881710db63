"""SQL of outcomes by playbook, channel and minute. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from delivery.tables import sending_outcomes as outcomes_table
from playbooks.controls import Scope
from playbooks.protection import Outcomes


def add(connection: Connection, counted: Mapping[tuple[str, str, datetime, str], int]) -> None:
    """Add to the counts, given by playbook, channel, minute and outcome."""
    rows = [
        {"playbook": playbook, "channel": channel, "minute": minute, "outcome": outcome, "number": number}
        for (playbook, channel, minute, outcome), number in sorted(counted.items())
    ]
    if not rows:
        return
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement: Any = insert(outcomes_table)
    more = {"number": outcomes_table.c.number + statement.excluded.number}
    keys = ["playbook", "channel", "minute", "outcome"]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=more), rows)


def forget(connection: Connection, before: datetime) -> None:
    """Take away what no window reaches any more."""
    connection.execute(delete(outcomes_table).where(outcomes_table.c.minute < before))


def targets(connection: Connection, since: datetime) -> list[tuple[Scope, str]]:
    """Return the playbooks and channels of which something is counted since a moment."""
    query = select(outcomes_table.c.playbook, outcomes_table.c.channel).distinct()
    rows = list(connection.execute(query.where(outcomes_table.c.minute >= since)))
    playbooks, channels = sorted({row.playbook for row in rows}), sorted({row.channel for row in rows})
    return [(Scope.PLAYBOOK, one) for one in playbooks] + [(Scope.CHANNEL, one) for one in channels]


def outcomes(connection: Connection, scope: Scope, target: str, since: datetime) -> Outcomes:
    """Return what became of the messages of a playbook, or on a channel, in the minutes from a moment on."""
    column = outcomes_table.c.playbook if scope is Scope.PLAYBOOK else outcomes_table.c.channel
    query = (
        select(outcomes_table.c.outcome, func.sum(outcomes_table.c.number))
        .where(column == target, outcomes_table.c.minute >= since)
        .group_by(outcomes_table.c.outcome)
    )
    return Outcomes(**{outcome: int(number) for outcome, number in connection.execute(query)})
