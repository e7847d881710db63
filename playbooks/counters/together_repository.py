"""SQL of the counters for many decisions at once; see `playbooks.counters.repository` for what is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from playbooks.counters.repository import lock_of
from playbooks.counters.totals_repository import return_expired
from playbooks.tables import budget_totals, uses
from storage.engine import Database
from storage.statements import Row, Statement
from storage.times import to_micros

# Parameters of one IN (…).
_IN = 512

_TAKE = Statement(
    update(budget_totals)
    .where(budget_totals.c.budget == bindparam("of_budget"))
    .values(taken=budget_totals.c.taken + bindparam("amount", type_=BigInteger))
)


def read_many(
    connection: Connection, people: Mapping[str, str], now: datetime, *, since: datetime
) -> dict[str, dict[str, list[int]]]:
    """Return the moments of counted uses after `since` (microseconds), oldest first, by person and rule.

    Args:
        people: the person of each profile.
    """
    asked = _asked(people, now, since)
    return _by_person(people, [statement.rows(connection, row) for statement, row in asked])


def look_at_many(
    database: Database, people: Mapping[str, str], now: datetime, *, since: datetime
) -> dict[str, dict[str, list[int]]]:
    """Return what `read_many` does, in what is committed now."""
    asked = _asked(people, now, since)
    return _by_person(people, [database.look(statement, row) for statement, row in asked])


def _asked(people: Mapping[str, str], now: datetime, since: datetime) -> Iterator[tuple[Statement, Row]]:
    profiles, moments = list(people), {"since": to_micros(since), "now": to_micros(now)}
    for start in range(0, len(profiles), _IN):
        some = profiles[start : start + _IN]
        # Of each power of two there is one statement; a profile that is named twice is found once.
        size = 1 << (len(some) - 1).bit_length()
        some += some[-1:] * (size - len(some))
        yield _of_so_many(size), {**moments, **{f"user_{place}": user for place, user in enumerate(some)}}


@cache
def _of_so_many(profiles: int) -> Statement:
    """Return the query of the uses of so many profiles, of each the oldest first."""
    return Statement(
        select(uses.c.user_id, uses.c.rule, uses.c.used_at)
        .where(
            uses.c.user_id.in_([bindparam(f"user_{place}") for place in range(profiles)]),
            uses.c.used_at > bindparam("since", type_=BigInteger),
            or_(uses.c.expires_at.is_(None), uses.c.expires_at > bindparam("now", type_=BigInteger)),
        )
        # As the index has them, or SQLite would sort what it found.
        .order_by(uses.c.user_id, uses.c.used_at)
    )


def _by_person(
    people: Mapping[str, str], shares: Sequence[Sequence[tuple[Any, ...]]]
) -> dict[str, dict[str, list[int]]]:
    """Return moments by person and rule, oldest first, of rows that come so of each profile."""
    found: dict[str, dict[str, list[int]]] = {}
    for profile, rule, used_at in chain(*shares):
        found.setdefault(people[profile], {}).setdefault(rule, []).append(used_at)
    if len(set(people.values())) < len(people):
        for rules in found.values():
            for moments in rules.values():
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
