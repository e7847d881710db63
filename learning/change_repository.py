"""SQL of the optimisation log: the facts of changes, newest first."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from learning.errors import UnknownChange
from learning.version_repository import PolicyChange
from storage import ledger
from storage.ledger import Fact, Kind
from storage.schema import facts


def changes_before(
    connection: Connection, labels: Sequence[str], before: int | None, limit: int
) -> list[Fact]:
    """Return the newest changes with a `seq` below `before`, the newest first; no labels: all of them."""
    query = ledger.columns().where(facts.c.kind == Kind.CHANGE)
    if labels:
        query = query.where(facts.c.label.in_(labels))
    if before is not None:
        query = query.where(facts.c.seq < before)
    rows = connection.execute(query.order_by(facts.c.seq.desc()).limit(limit))
    return [ledger.fact_of(row) for row in rows]


def change(connection: Connection, change_id: str) -> Fact:
    """Return a change by its id.

    Raises:
        UnknownChange: there is none.
    """
    found = ledger.get(connection, Kind.CHANGE, change_id)
    if found is None:
        raise UnknownChange(f"there is no change {change_id!r}; GET /v1/changes lists them")
    return found


def publications(connection: Connection, policy: str) -> dict[str, PolicyChange]:
    """Return what was told of each version of a policy when it was published, by its name."""
    query = ledger.columns().where(facts.c.kind == Kind.CHANGE, facts.c.label == "policy_published")
    told = [ledger.fact_of(row).decode(PolicyChange) for row in connection.execute(query)]
    return {one.version: one for one in told if one.policy == policy}
