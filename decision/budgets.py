"""What budgets of money stand at now: taken, paced, and what a little more of them would earn."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from decision.decider import Decider
from decision.errors import NoExplorationBudget
from playbooks.constraints.spending import OWED, Spending
from playbooks.counters import Counters
from playbooks.counters.repository import newest_grants
from playbooks.decision import Decision
from playbooks.earned import earned_by
from playbooks.exploring import PARTS
from playbooks.library import Library
from playbooks.pacing import elapsed_of, price_now
from playbooks.suggesting import closest
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ledger import Kind

# Of so many who took from a budget last it is looked at what they earned.
_LAST = 500


class BudgetNow(msgspec.Struct, frozen=True):
    """A budget in its present period; amounts are minor units of `currency`.

    `elapsed` is the part of what it is paced over that is over, null for one without a pace. `shadow_price`
    is what one more unit would earn beyond its cost, in its own money: what arms pay now, and without a pace
    what those earned who took from the budget last, or 0 where money comes back and there is room.
    `one_percent_more` is what one per cent more of the limit would earn, in units of reward, null where the
    policy does not say what money costs.
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


class _Money(NamedTuple):
    """A budget of money, and what each arm of what is served takes of it."""

    spending: Spending
    takes: Mapping[str, int]

    def is_full(self, taken: int) -> bool:
        """Whether any arm has no room left."""
        return any(taken + amount > self.spending.limit for amount in self.takes.values())


class Budgets:
    """Says what budgets of money stand at. Thread-safe."""

    def __init__(self, database: Database, decider: Decider, counters: Counters, clock: Clock) -> None:
        self._database, self._decider, self._counters, self._clock = database, decider, counters, clock

    def now(self) -> list[BudgetNow]:
        """Return the budgets of money of what is served, by rule.

        Raises:
            CountersUnreachable: how much is taken can't be said now.
        """
        snapshot, now = self._decider.snapshot, self._clock.now()
        budgets = _of_money(snapshot.library)
        levels = self._counters.levels({one.spending.budget(now) for one in budgets}, now)
        return [self._now(one, levels, snapshot.costs.get(one.spending.currency), now) for one in budgets]

    def _now(self, one: _Money, levels: Mapping[str, int], rate: float | None, now: datetime) -> BudgetNow:
        spending, price = one.spending, 0.0
        budget, elapsed = spending.budget(now), elapsed_of(spending, now)
        taken = levels.get(budget.key, 0)
        if rate and elapsed is not None:
            price = price_now(spending, levels, now)
        elif rate and (one.is_full(taken) or not spending.rule.startswith(OWED)):
            price = self._earned(budget.key, one.takes) / rate
        return BudgetNow(
            rule=spending.rule,
            period=budget.period,
            currency=spending.currency,
            limit=spending.limit,
            taken=taken,
            elapsed=elapsed,
            shadow_price=price,
            one_percent_more=None if rate is None else 0.01 * spending.limit * rate * price,
        )

    def _earned(self, budget: str, takes: Mapping[str, int]) -> float:
        """Return what a unit of a budget earned those who took from it last, in units of reward."""
        with self._database.read() as connection:
            amounts = newest_grants(connection, budget, _LAST)
            facts = ledger.known(connection, [Kind.DECISION], list(amounts))
        decisions = [fact.decode(Decision) for fact in facts.values()]
        # Of what no policy chose nothing says what it is worth.
        return earned_by([one for one in decisions if one.policy and one.acts], amounts, takes.keys()) or 0.0


def _of_money(library: Library) -> list[_Money]:
    spends: dict[str, Spending] = {}
    takes: dict[str, dict[str, int]] = {}
    for playbook in library.playbooks:
        for one in library.rules.terms(playbook).spends:
            if one.currency:
                spends[one.rule] = one
                own = takes.setdefault(one.rule, {})
                own.update({arm.id: amount for arm in playbook.arms if (amount := one.takes(arm))})
    return [_Money(one, takes[rule]) for rule, one in sorted(spends.items())]


def router(database: Database, decider: Decider, counters: Counters, clock: Clock) -> APIRouter:
    """Return the route of budgets."""
    routes = APIRouter(tags=["decision"])
    budgets = Budgets(database, decider, counters, clock)

    @routes.get("/v1/budgets")
    def show_budgets() -> Response:
        """Budgets of money: taken, elapsed, shadow price, and what one per cent more would earn."""
        return Response(msgspec.json.encode(budgets.now()), media_type="application/json")

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
