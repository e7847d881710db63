"""What budgets of money stand at now: taken, paced, and what a little more of them would earn."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from decision.decider import Decider
from playbooks.constraints.spending import Spending
from playbooks.counters import Counters
from playbooks.pacing import elapsed_of, price_now
from storage.clock import Clock


class BudgetNow(msgspec.Struct, frozen=True):
    """A budget in its present period; amounts are minor units of `currency`.

    `elapsed` is the part of the period that is over, null for one that never ends. `shadow_price` is what one
    more unit would earn beyond its cost, in its own money; `one_percent_more` what one per cent more of the
    limit would earn, in units of reward, null where the policy does not say what money costs.
    """

    rule: str
    period: str
    currency: str
    limit: int
    taken: int
    elapsed: float | None
    shadow_price: float
    one_percent_more: float | None


def budgets_now(decider: Decider, counters: Counters, clock: Clock) -> list[BudgetNow]:
    """Return the budgets of money of what is served, by rule.

    Raises:
        CountersUnreachable: how much is taken can't be said now.
    """
    snapshot, now = decider.snapshot, clock.now()
    spends: dict[str, Spending] = {
        one.rule: one
        for playbook in snapshot.library.playbooks
        for one in snapshot.library.rules.terms(playbook).spends
        if one.currency
    }
    levels = counters.levels({one.budget(now) for one in spends.values()}, now)
    return [_now(one, levels, snapshot.costs, clock) for _, one in sorted(spends.items())]


def router(decider: Decider, counters: Counters, clock: Clock) -> APIRouter:
    """Return the route of budgets."""
    routes = APIRouter(tags=["decision"])

    @routes.get("/v1/budgets")
    def show_budgets() -> Response:
        """Budgets of money: taken, elapsed, shadow price, and what one per cent more would earn."""
        found = budgets_now(decider, counters, clock)
        return Response(msgspec.json.encode(found), media_type="application/json")

    return routes


def _now(one: Spending, levels: Mapping[str, int], rates: Mapping[str, float], clock: Clock) -> BudgetNow:
    now = clock.now()
    budget, price = one.budget(now), price_now(one, levels, now)
    rate = rates.get(one.currency)
    return BudgetNow(
        rule=one.rule,
        period=budget.period,
        currency=one.currency,
        limit=one.limit,
        taken=levels.get(budget.key, 0),
        elapsed=elapsed_of(one, now),
        shadow_price=price if rate else 0.0,
        one_percent_more=None if rate is None else 0.01 * one.limit * rate * price,
    )
