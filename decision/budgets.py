"""What budgets of money stand at now: taken, paced, and what a little more of them would earn."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from decision.decider import Decider
from decision.errors import NoExplorationBudget
from playbooks.constraints.spending import Spending
from playbooks.counters import Counters
from playbooks.exploring import PARTS
from playbooks.pacing import elapsed_of, price_now
from playbooks.suggesting import closest
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


class ExplorationNow(msgspec.Struct, frozen=True):
    """What exploring cost a playbook on a day, in minor units of `currency`, of at most `limit`.

    `spent` has three decimals and may pass the limit by what the floor costs. `only_floor`: it is used up.
    """

    playbook: str
    day: str
    currency: str
    limit: int
    spent: float
    only_floor: bool


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

    @routes.get("/v1/playbooks/{playbook}/exploration")
    def show_exploration(playbook: str) -> Response:
        """What exploring cost a playbook today, and how much is left of its budget."""
        found = exploration_now(playbook, decider, counters, clock)
        return Response(msgspec.json.encode(found), media_type="application/json")

    return routes


def exploration_now(playbook: str, decider: Decider, counters: Counters, clock: Clock) -> ExplorationNow:
    """Return how a playbook's exploration budget stands.

    Raises:
        NoExplorationBudget: it is not served, or has none.
        CountersUnreachable: how much is taken can't be said now.
    """
    snapshot, now = decider.snapshot, clock.now()
    budgets = {
        one.id: budget
        for one in snapshot.library.playbooks
        if (budget := one.document.exploration_budget) is not None
    }
    budget = budgets.get(playbook)
    if budget is None:
        raise NoExplorationBudget(
            f"no playbook {playbook!r} with an exploration budget is served{closest(playbook, budgets)}"
        )
    counted = budget.counted(playbook, now)
    taken = counters.taken(counted, now)
    return ExplorationNow(
        playbook=playbook,
        day=counted.period,
        currency=budget.amount.currency,
        limit=budget.amount.amount,
        spent=taken / PARTS,
        only_floor=taken >= budget.limit,
    )


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
