"""SQL of what happened to users, as delivery asks for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from storage import ledger
from storage.ledger import Fact, Kind
from storage.schema import facts
from storage.times import from_micros, to_micros


def since(
    connection: Connection, user_ids: Collection[str], names: Collection[str], moment: datetime
) -> list[Fact]:
    """Return the events of these names that happened to users after a moment, in the order they happened."""
    query = (
        ledger.columns()
        .where(facts.c.user_id.in_(user_ids), facts.c.kind == Kind.EVENT.value, facts.c.label.in_(names))
        .where(facts.c.occurred_at > to_micros(moment))
        .order_by(facts.c.occurred_at, facts.c.seq)
    )
    return [ledger.fact_of(row) for row in connection.execute(query)]


def decided_at(connection: Connection, decision_ids: Sequence[str]) -> dict[str, datetime]:
    """Return when decisions were made, by their ids."""
    query = select(facts.c.id, facts.c.occurred_at).where(
        facts.c.kind == Kind.DECISION.value, facts.c.id.in_(decision_ids)
    )
    return {decision: from_micros(moment) for decision, moment in connection.execute(query)}


def until(connection: Connection, user_ids: Collection[str], moment: datetime, limit: int) -> list[Fact]:
    """Return the latest events of users up to a moment, newest first; what was imported is among them."""
    kinds = [Kind.EVENT.value, Kind.PAST_EVENT.value]
    query = (
        ledger.columns()
        .where(facts.c.user_id.in_(user_ids), facts.c.kind.in_(kinds))
        .where(facts.c.occurred_at <= to_micros(moment))
        .order_by(facts.c.occurred_at.desc(), facts.c.seq.desc())
        .limit(limit)
    )
    return [ledger.fact_of(row) for row in connection.execute(query)]
