"""SQL of the counters: the journal of uses and grants.

A row of the journal counts while it is committed (`expires_at` null) or its reservation has not expired.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    cast,
    delete,
    func,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from playbooks.counters.port import PastUse, Wanted
from playbooks.tables import budget_totals, grants, uses
from storage.bulk import Inserts
from storage.statements import Statement
from storage.times import from_micros, to_micros

_TABLES = (uses, grants)
# Parameters of one IN (…).
_IN = 500

_HOLDS = Statement(
    union_all(
        *(
            select(table.c.id).where(
                table.c.decision_id == bindparam("decision_id"),
                or_(table.c.expires_at.is_(None), table.c.expires_at > bindparam("until", type_=BigInteger)),
            )
            for table in _TABLES
        )
    ).limit(1)
)
_INSERT_USES = Inserts(uses, ("user_id", "rule", "decision_id", "used_at", "expires_at"))
_INSERT_GRANTS = Inserts(grants, ("budget", "decision_id", "amount", "granted_at", "expires_at"))
# What counts for good is not written again, with its indexes.
_COMMIT = tuple(
    Statement(
        update(table)
        .where(table.c.decision_id == bindparam("of_decision"), table.c.expires_at.is_not(None))
        .values(expires_at=null())
    )
    for table in _TABLES
)


class UseRow(NamedTuple):
    """A use as the journal has it; `expires_at` None when committed. Times in microseconds."""

    decision_id: str
    rule: str
    used_at: int
    expires_at: int | None


class GrantRow(NamedTuple):
    """A grant as the journal has it; `expires_at` None when committed. Times in microseconds."""

    decision_id: str
    amount: int
    expires_at: int | None


def uses_of(connection: Connection, profiles: Sequence[str], now: datetime, *, since: int) -> list[UseRow]:
    """Return the counted uses of a person's profiles after `since` (microseconds)."""
    query = select(uses.c.decision_id, uses.c.rule, uses.c.used_at, uses.c.expires_at).where(
        uses.c.user_id.in_(profiles), uses.c.used_at > from_micros(since), _counted(uses, now)
    )
    return [UseRow(*row) for row in _plain(connection, query)]


def uses_of_many(
    connection: Connection, profiles: Sequence[str], now: datetime, *, since: int
) -> dict[str, list[UseRow]]:
    """Return the counted uses of profiles after `since` (microseconds), of those that have any."""
    found: dict[str, list[UseRow]] = {}
    for start in range(0, len(profiles), _IN):
        query = select(
            uses.c.user_id, uses.c.decision_id, uses.c.rule, uses.c.used_at, uses.c.expires_at
        ).where(
            uses.c.user_id.in_(profiles[start : start + _IN]),
            uses.c.used_at > from_micros(since),
            _counted(uses, now),
        )
        for user_id, *row in _plain(connection, query):
            found.setdefault(user_id, []).append(UseRow(*row))
    return found


def uses_by(connection: Connection, decision_ids: Sequence[str], now: datetime) -> list[UseRow]:
    """Return the counted uses of these decisions."""
    query = select(uses.c.decision_id, uses.c.rule, uses.c.used_at, uses.c.expires_at).where(
        uses.c.decision_id.in_(decision_ids), _counted(uses, now)
    )
    return [UseRow(*row) for row in _plain(connection, query)]


def insert_uses(
    connection: Connection, reserved: Sequence[tuple[Wanted, datetime | None]], now: datetime
) -> None:
    """Write a use under each limit that counts, each wanted one's reserved until a moment or for good."""
    used_at = to_micros(now)
    rows = [
        (limit.subject or wanted.user_id, limit.counter, wanted.decision_id, used_at, _micros(expires_at))
        for wanted, expires_at in reserved
        for limit in wanted.limits
        if limit.counts
    ]
    _INSERT_USES.run_many(connection, rows)


def insert_past(connection: Connection, past: Sequence[PastUse]) -> None:
    """Write uses that were made elsewhere; they count for good."""
    rows = [(one.user_id, one.rule, one.id, to_micros(one.used_at), None) for one in past]
    _INSERT_USES.run_many(connection, rows)


def insert_grants(
    connection: Connection, reserved: Sequence[tuple[Wanted, datetime | None]], now: datetime
) -> None:
    """Write a grant for each spend, each wanted one's reserved until a moment or for good."""
    granted_at = to_micros(now)
    rows = [
        (one.budget.key, wanted.decision_id, one.amount, granted_at, _micros(expires_at))
        for wanted, expires_at in reserved
        for one in wanted.spends
    ]
    _INSERT_GRANTS.run_many(connection, rows)


def insert_room(connection: Connection, budget: str, by: str, amount: int, now: datetime) -> None:
    """Write that a budget has so much more: a grant of less than nothing, for good."""
    upsert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    connection.execute(upsert(budget_totals).values(budget=budget, taken=0).on_conflict_do_nothing())
    _INSERT_GRANTS.run_many(connection, [(budget, by, -amount, to_micros(now), None)])


def holds(connection: Connection, decision_id: str, until: datetime) -> bool:
    """Say whether a decision's rows are committed or count until after `until`."""
    row = {"decision_id": decision_id, "until": to_micros(until)}
    return bool(_HOLDS.rows(connection, row))


def commit(connection: Connection, decision_ids: Sequence[str]) -> None:
    """Make the rows of these decisions count for good."""
    rows = [{"of_decision": decision_id} for decision_id in decision_ids]
    for statement in _COMMIT:
        statement.run_many(connection, rows)


def held(connection: Connection, decision_id: str, until: datetime) -> set[str]:
    """Return the rules and budgets of a decision's rows that are committed or count until after `until`."""
    query = union_all(
        *(
            select(name).where(
                table.c.decision_id == decision_id,
                or_(table.c.expires_at.is_(None), table.c.expires_at > until),
            )
            for table, name in ((uses, uses.c.rule), (grants, grants.c.budget))
        )
    )
    return set(connection.execute(query).scalars())


def release_uses(
    connection: Connection, decision_ids: Sequence[str], only: Collection[str] | None = None
) -> list[tuple[str, str]]:
    """Delete the reserved uses of these decisions, of all rules or of some.

    Returns whose (user, decision) there were.
    """
    query = delete(uses).where(uses.c.decision_id.in_(decision_ids), uses.c.expires_at.is_not(None))
    if only is not None:
        query = query.where(uses.c.rule.in_(only))
    return [
        (one, two) for one, two in connection.execute(query.returning(uses.c.user_id, uses.c.decision_id))
    ]


def release_grants(
    connection: Connection, decision_ids: Sequence[str], only: Collection[str] | None = None
) -> list[tuple[str, str, int]]:
    """Delete the reserved grants of these decisions, from all budgets or some.

    Returns (budget, decision, amount) of each.
    """
    query = delete(grants).where(grants.c.decision_id.in_(decision_ids), grants.c.expires_at.is_not(None))
    if only is not None:
        query = query.where(grants.c.budget.in_(only))
    gone = connection.execute(query.returning(grants.c.budget, grants.c.decision_id, grants.c.amount))
    return [(budget, decision_id, amount) for budget, decision_id, amount in gone]


def lock_user(connection: Connection, user_id: str) -> None:
    """Let one transaction at a time count this user's uses; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(lock_of(user_id))))


def lock_of(user_id: str) -> int:
    """Return the number under which a user is locked on Postgres."""
    return int.from_bytes(blake2b(user_id.encode(), digest_size=8).digest(), signed=True)


def granted(connection: Connection, budget: str, now: datetime) -> tuple[int, list[GrantRow]]:
    """Return how much of a budget counts by the journal, and the grants that are reserved still.

    One statement, so that both are of the same moment.
    """
    open_ = grants.c.expires_at.is_not(None)
    committed = select(null(), cast(func.coalesce(func.sum(grants.c.amount), 0), BigInteger), null()).where(
        grants.c.budget == budget, grants.c.expires_at.is_(None)
    )
    reserved = select(grants.c.decision_id, grants.c.amount, grants.c.expires_at).where(
        grants.c.budget == budget, open_, grants.c.expires_at > now
    )
    rows = [GrantRow(*row) for row in _plain(connection, union_all(reserved, committed))]
    total = sum(int(row.amount) for row in rows)
    return total, [row for row in rows if row.decision_id is not None]


def settle_grants(
    connection: Connection, decision_ids: Sequence[str], prefixes: Sequence[str]
) -> list[tuple[str, str, int]]:
    """Delete the grants of these decisions from budgets that begin so; returns (budget, decision, amount)."""
    query = delete(grants).where(
        grants.c.decision_id.in_(decision_ids),
        or_(*(grants.c.budget.startswith(one, autoescape=True) for one in prefixes)),
    )
    gone = connection.execute(query.returning(grants.c.budget, grants.c.decision_id, grants.c.amount))
    return [(budget, decision_id, amount) for budget, decision_id, amount in gone]


def settle_uses(connection: Connection, decision_ids: Sequence[str], prefixes: Sequence[str]) -> list[str]:
    """Delete the uses of these decisions under rules that begin so; returns whose they were."""
    query = delete(uses).where(
        uses.c.decision_id.in_(decision_ids),
        or_(*(uses.c.rule.startswith(one, autoescape=True) for one in prefixes)),
    )
    return list(connection.execute(query.returning(uses.c.user_id)).scalars())


def grants_by(
    connection: Connection, budget: str, decision_ids: Sequence[str], now: datetime
) -> list[GrantRow]:
    """Return the counted grants of these decisions from a budget."""
    query = select(grants.c.decision_id, grants.c.amount, grants.c.expires_at).where(
        grants.c.decision_id.in_(decision_ids), grants.c.budget == budget, _counted(grants, now)
    )
    return [GrantRow(*row) for row in _plain(connection, query)]


def newest_grants(connection: Connection, budget: str, limit: int) -> dict[str, int]:
    """Return what was taken from a budget last, by decision id, at most so many."""
    query = select(grants.c.decision_id, grants.c.amount).where(
        grants.c.budget == budget, grants.c.amount > 0
    )
    return {
        one: int(amount)
        for one, amount in connection.execute(query.order_by(grants.c.id.desc()).limit(limit))
    }


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _counted(table: Any, now: datetime) -> Any:
    return or_(table.c.expires_at.is_(None), table.c.expires_at > now)


def _plain(connection: Connection, query: Any) -> list[tuple[Any, ...]]:
    """Run a query whose moments come as microseconds, in one go."""
    rows = connection.execute(query)
    return [
        tuple(to_micros(value) if isinstance(value, datetime) else value for value in row) for row in rows
    ]
