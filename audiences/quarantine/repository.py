"""SQL of events that are set aside."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, exists, func, select
from sqlalchemy.sql import ColumnElement

from storage import ledger
from storage.ledger import Fact, Kind
from storage.schema import facts

_COUNTED = (Kind.EVENT, Kind.PAST_EVENT)


def aside(
    connection: Connection, kind: Kind, *, names: Collection[str] = (), after: int = 0, limit: int = 100
) -> list[Fact]:
    """Return events of a kind that were set aside and not taken in since, oldest first.

    Args:
        names: of these events only; of all if there is none.
        after: the number of the last fact that was seen.
    """
    query = ledger.columns().where(facts.c.kind == kind.value, facts.c.seq > after, _stays(kind))
    if names:
        query = query.where(facts.c.label.in_(names))
    return [ledger.fact_of(row) for row in connection.execute(query.order_by(facts.c.seq).limit(limit))]


def one_aside(connection: Connection, kind: Kind, event_id: str) -> Fact | None:
    """Return an event of a kind that was set aside and not taken in since, by its id."""
    query = ledger.columns().where(facts.c.kind == kind.value, facts.c.id == event_id, _stays(kind))
    row = connection.execute(query).first()
    return None if row is None else ledger.fact_of(row)


def aside_by_name(connection: Connection, kind: Kind) -> dict[str, int]:
    """Return how many events of a kind are set aside and were not taken in since, by name."""
    query = select(facts.c.label, func.count()).where(facts.c.kind == kind.value, _stays(kind))
    return {label: int(number) for label, number in connection.execute(query.group_by(facts.c.label))}


def _stays(kind: Kind) -> ColumnElement[bool]:
    """Return the condition that no other fact of an event took the place of the one that was set aside."""
    later = facts.alias("later")
    kinds = (*_COUNTED, Kind.MACHINE_EVENT) if kind is Kind.QUARANTINED else _COUNTED
    return ~exists().where(later.c.kind.in_([one.value for one in kinds]), later.c.id == facts.c.id)
