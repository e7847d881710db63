"""SQL of the ledger as evaluations read it: of whom something was recorded."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from storage.ledger import Kind
from storage.order import settled
from storage.schema import facts


def end_of_ledger(connection: Connection) -> int:
    """The number below which no fact will appear any more."""
    query = select(func.max(facts.c.seq)).where(settled(connection))
    return connection.execute(query).scalar() or 0


def touched(connection: Connection, position: int, kinds: Collection[Kind]) -> list[str]:
    """Users of whom facts of some kinds were recorded after a position of the ledger."""
    query = (
        select(facts.c.user_id)
        .where(
            facts.c.seq > position,
            facts.c.kind.in_([kind.value for kind in kinds]),
            facts.c.user_id.is_not(None),
            settled(connection),
        )
        .distinct()
    )
    return sorted(connection.execute(query).scalars())
