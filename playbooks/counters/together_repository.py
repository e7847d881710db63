"""SQL of the counters for many decisions at once; see `playbooks.counters.repository` for what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import BigInteger, Connection, bindparam, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from playbooks.counters.repository import lock_of, return_expired
from playbooks.tables import budget_totals, uses
from storage.statements import Statement

# Parameters of one IN (…).
_IN = 500

_TAKE = Statement(
    update(budget_totals)
    .where(budget_totals.c.budget == bindparam("of_budget"))
    .values(taken=budget_totals.c.taken + bindparam("amount", type_=BigInteger))
)


def read_many(
    connection: Connection, people: Mapping[str, str], now: datetime, *, since: datetime
) -> dict[str, dict[str, list[datetime]]]:
    """Return the moments of counted uses after `since`, oldest first, by person and rule.

    Args:
        people: the person of each profile.
    """
    found: dict[str, dict[str, list[datetime]]] = {}
    profiles = list(people)
    for start in range(0, len(profiles), _IN):
        query = select(uses.c.user_id, uses.c.rule, uses.c.used_at).where(
            uses.c.user_id.in_(profiles[start : start + _IN]),
            uses.c.used_at > since,
            or_(uses.c.expires_at.is_(None), uses.c.expires_at > now),
        )
        for profile, rule, used_at in connection.execute(query):
            found.setdefault(people[profile], {}).setdefault(rule, []).append(used_at)
    for of in found.values():
        for moments in of.values():
            moments.sort()
    return found


def lock_users(connection: Connection, user_ids: Sequence[str]) -> None:
    """Let one transaction at a time count these users' uses, taken in this order (see `lock_user`)."""
    if connection.dialect.name == "postgresql" and user_ids:
        keys = func.unnest(cast(list(map(lock_of, user_ids)), ARRAY(BigInteger))).column_valued("key")
        connection.execute(select(func.pg_advisory_xact_lock(keys))).all()


def hold_totals(connection: Connection, budgets: Sequence[str]) -> dict[str, int]:
    """Return how much of these budgets is taken, expired reservations included, and lock them in order."""
    if not budgets:
        return {}
    upsert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    rows = [{"budget": budget, "taken": 0} for budget in sorted(budgets)]
    connection.execute(upsert(budget_totals).on_conflict_do_nothing(), rows)
    query = (
        select(budget_totals.c.budget, budget_totals.c.taken)
        .where(budget_totals.c.budget.in_(budgets))
        .order_by(budget_totals.c.budget)
        .with_for_update()
    )
    return {budget: int(taken) for budget, taken in connection.execute(query)}


def without_expired(connection: Connection, budget: str, now: datetime) -> int:
    """Return to a budget that is held what expired reservations hold of it; say how much is taken then."""
    return_expired(connection, budget, now)
    taken = select(budget_totals.c.taken).where(budget_totals.c.budget == budget)
    return int(connection.execute(taken).scalar_one())


def take_many(connection: Connection, amounts: Mapping[str, int]) -> None:
    """Take amounts of budgets that are held, by key."""
    rows = [{"of_budget": budget, "amount": amount} for budget, amount in sorted(amounts.items()) if amount]
    _TAKE.run_many(connection, rows)
