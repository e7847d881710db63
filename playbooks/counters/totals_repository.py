"""SQL of what is taken from each budget: a total beside the journal of its grants, locked before them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from playbooks.counters.port import Difference, Spend
from playbooks.tables import budget_totals, grants
from storage.statements import Statement
from storage.times import to_micros

_TAKE = Statement(
    update(budget_totals)
    .where(
        budget_totals.c.budget == bindparam("of_budget"),
        budget_totals.c.taken <= bindparam("below", type_=BigInteger),
    )
    .values(taken=budget_totals.c.taken + bindparam("amount", type_=BigInteger))
)


_EXPIRED = Statement(
    select(
        select(grants.c.amount)
        .where(
            grants.c.budget == budget_totals.c.budget,
            grants.c.expires_at <= bindparam("now", type_=BigInteger),
        )
        .exists()
        .label("expired")
    ).where(budget_totals.c.budget == bindparam("of_budget"))
)


def take(connection: Connection, spend: Spend, now: datetime) -> bool:
    """Take an amount from a budget's total if there is room, and say whether there was.

    When there is none, what expired reservations hold is returned first.
    """
    row = {
        "of_budget": spend.budget.key,
        "amount": spend.amount,
        "below": spend.budget.limit - spend.amount,
    }
    if _TAKE.run(connection, row).rowcount == 1:
        return True
    known = {"of_budget": spend.budget.key, "now": to_micros(now)}
    found = _EXPIRED.run(connection, known).first()
    if found is not None and not found.expired:
        # Full, and nothing to return: of very many that come too late each is told so at little cost.
        return False
    return_expired(connection, spend.budget.key, now)
    return _TAKE.run(connection, row).rowcount == 1


def give_back(connection: Connection, budget: str, amount: int) -> None:
    """Lower a budget's total."""
    connection.execute(
        update(budget_totals)
        .where(budget_totals.c.budget == budget)
        .values(taken=budget_totals.c.taken - amount)
    )


def return_expired(connection: Connection, budget: str, now: datetime) -> None:
    """Return to a budget what expired reservations hold of it."""
    upsert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    connection.execute(upsert(budget_totals).values(budget=budget, taken=0).on_conflict_do_nothing())
    # The total first: whoever reserves locks it before any grant.
    connection.execute(
        select(budget_totals.c.taken).where(budget_totals.c.budget == budget).with_for_update()
    )
    gone = connection.execute(
        delete(grants).where(grants.c.budget == budget, grants.c.expires_at <= now).returning(grants.c.amount)
    ).scalars()
    if amount := sum(gone):
        give_back(connection, budget, amount)


def lock_totals(connection: Connection, decision_ids: Sequence[str], budgets: Collection[str] = ()) -> None:
    """Let one transaction at a time deal with budgets, and with those that decisions took from.

    In one order everywhere, and before any of their grants. SQLite has one writer anyway.
    """
    if connection.dialect.name != "postgresql":
        return
    if budgets:
        rows = [{"budget": one, "taken": 0} for one in sorted(budgets)]
        connection.execute(postgres_insert(budget_totals).on_conflict_do_nothing(), rows)
    taken = select(grants.c.budget).where(grants.c.decision_id.in_(decision_ids))
    connection.execute(
        select(budget_totals.c.taken)
        .where(or_(budget_totals.c.budget.in_(budgets), budget_totals.c.budget.in_(taken)))
        .order_by(budget_totals.c.budget)
        .with_for_update()
    )


def levels(connection: Connection, keys: Sequence[str], now: datetime) -> dict[str, int]:
    """Return how much of these budgets counts, by key, of those of which anything was ever taken.

    What has expired and still waits to be returned does not count.
    """
    expired = (
        select(func.coalesce(func.sum(grants.c.amount), 0))
        .where(grants.c.budget == budget_totals.c.budget, grants.c.expires_at <= now)
        .scalar_subquery()
    )
    query = select(budget_totals.c.budget, budget_totals.c.taken, expired).where(
        budget_totals.c.budget.in_(keys)
    )
    return {budget: int(taken) - int(gone) for budget, taken, gone in connection.execute(query)}


def wrong_totals(connection: Connection) -> list[Difference]:
    """Return the budgets whose total is not the sum of their grants, expired ones that wait included."""
    both = union_all(
        select(budget_totals.c.budget, budget_totals.c.taken.label("kept"), (null()).label("counted")),
        select(grants.c.budget, null(), func.sum(grants.c.amount)).group_by(grants.c.budget),
    ).subquery()
    kept, counted = func.coalesce(func.sum(both.c.kept), 0), func.coalesce(func.sum(both.c.counted), 0)
    query = select(both.c.budget, kept, counted).group_by(both.c.budget).having(kept != counted)
    return [Difference(budget, int(one), int(two)) for budget, one, two in connection.execute(query)]


def right_totals(connection: Connection) -> None:
    """Set every budget's total to the sum of its grants."""
    # Locked first, in a statement of its own: a sum must see what those who held the rows have committed.
    for (budget,) in connection.execute(
        select(budget_totals.c.budget).order_by(budget_totals.c.budget).with_for_update()
    ).all():
        total = select(func.coalesce(func.sum(grants.c.amount), 0)).where(grants.c.budget == budget)
        connection.execute(
            update(budget_totals)
            .where(budget_totals.c.budget == budget)
            .values(taken=total.scalar_subquery())
        )
    new = select(grants.c.budget, func.sum(grants.c.amount)).group_by(grants.c.budget)
    known = select(budget_totals.c.budget)
    connection.execute(
        insert(budget_totals).from_select(["budget", "taken"], new.where(grants.c.budget.not_in(known)))
    )
