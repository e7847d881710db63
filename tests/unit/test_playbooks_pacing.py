"""Budgets of money are paced by their shadow price: near the optimum that a solver finds, never overspent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.optimize import linprog

from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.documents import MoneyBudget
from playbooks.constraints.rulebook import Rulebook
from playbooks.decision import Decision
from playbooks.earned import earned_by
from playbooks.flow import Flow
from playbooks.goal_documents import Goal
from playbooks.library import Library, PublishedPlaybook
from playbooks.matching import Request, Snapshot, decide, replay
from playbooks.models import DO_NOTHING, Arm, Playbook, VariantSet
from playbooks.money import Money
from playbooks.pacing import MOST, elapsed_of, price_now, price_of
from playbooks.policy import FloatArray, Stakes

START = datetime(2026, 3, 2, tzinfo=UTC)
RATE = 0.001
LIMIT = 60_000
BUDGET = MoneyBudget.model_validate(
    {"kind": "budget", "id": "daily", "amount": "600.00 EUR", "period": "day"}
)
# The same money for all time, and the day to spend it in.
FOR_A_DAY = BUDGET.model_copy(
    update={"period": "all", "paced_from": START, "paced_until": START + timedelta(days=1)}
)


class Told:
    """A policy that is told what the arm is worth, and takes what is worth most."""

    version = "told@1"
    inputs = frozenset({"worth"})

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        return np.full(len(arms), float(features["worth"]))

    def deviations(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray | None:
        return None

    def explore(self, stakes: Stakes) -> FloatArray:
        vector = np.zeros(len(stakes.values))
        vector[int(stakes.values.argmax())] = 1.0
        return vector


def playbook(cost: int) -> PublishedPlaybook:
    document = Playbook(
        id="coupon",
        name="coupon",
        placement="home",
        goal=Goal(event="order_completed", window=timedelta(days=14)),
        variants=[VariantSet(group="any", channel="mailbox", content="notice")],
        flow=Flow.model_validate({"start": "x", "states": {"x": {"kind": "end", "result": "r"}}}),
    )
    arm = Arm("coupon/five", "coupon", "o", "mailbox", "notice", {}, value=500, cost=cost, currency="EUR")
    return PublishedPlaybook(document, 1, (arm,))


class Day(NamedTuple):
    """What a day earns, takes of the budget, its median price after noon, and decisions that took from it."""

    earned: float
    taken: int
    price: float
    takers: list[Decision]


def simulated(costs: np.ndarray, worths: np.ndarray, budget: MoneyBudget = BUDGET) -> Day:
    """Decide for everybody in turn, evenly over a day."""
    # Terms are kept by the version of a playbook, so each cost has a rulebook of its own.
    rules = {int(cost): Rulebook((budget,)) for cost in costs}
    served = {
        cost: Snapshot(Library((playbook(cost),), rules=those), Told(), "seed", costs={"EUR": RATE})
        for cost, those in rules.items()
    }
    earned, taken, prices, takers = 0.0, 0, [], []
    for number, (cost, worth) in enumerate(zip(costs.tolist(), worths.tolist(), strict=True)):
        now = START + timedelta(days=number / len(costs))
        spending = rules[int(cost)].terms(playbook(int(cost))).spends[0]
        levels = {spending.budget(now).key: taken}
        decision = decide(
            served[int(cost)],
            Request(str(number), f"u{number}", "home", "k"),
            features={"worth": worth},
            audiences=frozenset(),
            circumstances=Circumstances(levels=levels),
            now=now,
        )
        if decision.acts:
            taken += int(cost)
            earned += worth - RATE * cost
            takers.append(decision)
        if number >= len(costs) // 2:
            prices.append(price_now(spending, levels, now))
    return Day(earned, taken, float(np.median(prices)), takers)


def people(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what coupons for people cost, and are worth."""
    rng = np.random.default_rng(7)
    costs = rng.choice([50, 100, 200], number)
    return costs, RATE * costs * rng.uniform(0.5, 4.0, number)


@pytest.mark.parametrize("budget", [BUDGET, FOR_A_DAY], ids=["period", "all"])
def test_paced_decisions_come_near_the_optimum_and_never_overspend(budget: MoneyBudget) -> None:
    costs, worths = people(1_500)
    gains = worths - RATE * costs

    def best(limit: float) -> tuple[float, float]:
        solved = linprog(-gains, A_ub=costs[None, :], b_ub=[limit], bounds=(0, 1), method="highs")
        return float(-(solved.fun or 0.0)), float(-solved.ineqlin.marginals[0])

    optimum, dual = best(LIMIT)
    earned, taken, price, _ = simulated(costs, worths, budget)
    assert taken <= LIMIT
    assert taken > 0.97 * LIMIT
    assert earned > 0.95 * optimum
    # First come, first served earns less: the price is what makes the difference.
    spent = np.cumsum(np.where(gains > 0, costs, 0))
    assert earned > gains[(gains > 0) & (spent <= LIMIT)].sum() * 1.05
    # In units of reward for each minor unit, the dual of the budget.
    assert price * RATE == pytest.approx(dual, rel=0.15)
    more, _ = best(LIMIT * 1.01)
    assert 0.01 * LIMIT * RATE * price == pytest.approx(more - optimum, rel=0.2)


def test_what_more_of_a_budget_without_a_pace_earns_is_what_those_earned_who_came_last() -> None:
    costs, worths = people(1_500)
    without = BUDGET.model_copy(update={"period": "all"})
    earned, taken, price, takers = simulated(costs, worths, without)
    # It is spent by noon, on whoever comes first.
    assert (price, taken > 0.99 * LIMIT) == (0.0, True)
    assert int(takers[-1].decision_id) < 900
    last = takers[-300:]
    each = earned_by(
        last, {one.decision_id: int(costs[int(one.decision_id)]) for one in last}, {"coupon/five"}
    )
    assert each is not None
    # A tenth more, so that it is some fifty people who get it.
    tenth = Money(LIMIT // 10 * 11, "EUR")
    more = simulated(costs, worths, without.model_copy(update={"amount": tenth}))
    assert 0.1 * LIMIT * each == pytest.approx(more.earned - earned, rel=0.2)
    assert earned_by([], {}, set()) is None


def test_a_decision_earned_what_it_has_over_the_best_without_the_budget() -> None:
    day = simulated(np.array([100]), np.array([0.3]))
    (one,) = day.takers
    two = msgspec.structs.replace(
        one,
        arms=["coupon/five", "tip/plain", "do_nothing"],
        scores=[0.3, 0.05],
        costs=[0.1, 0.0],
        levers={"tip": 2.0},
    )
    took = {one.decision_id: 100}
    assert earned_by([one], took, {"coupon/five"}) == pytest.approx(0.2 / 100)
    assert earned_by([two], took, {"coupon/five"}) == pytest.approx(0.1 / 100)
    assert earned_by([two], took, {"coupon/five", "tip/plain"}) == pytest.approx(0.2 / 100)


@given(st.floats(0, 1), st.floats(0, 0.999))
def test_a_price_grows_with_what_is_taken_and_falls_with_time(taken: float, elapsed: float) -> None:
    price = price_of(taken, 1.0, elapsed)
    assert 0.0 <= price <= MOST
    assert price_of(min(1.0, taken + 0.01), 1.0, elapsed) >= price
    assert price_of(taken, 1.0, min(0.999, elapsed + 0.0005)) <= price
    if taken <= elapsed:
        assert price == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("period", "part"), [("day", 0.5), ("week", 1.5 / 7), ("month", 2.5 / 31)])
def test_periods_pass_on_the_budgets_own_clock(period: str, part: float) -> None:
    document = BUDGET.model_dump(mode="json") | {"period": period, "zone": "Asia/Tokyo"}
    rules = Rulebook((MoneyBudget.model_validate(document),))
    spending = rules.terms(playbook(100)).spends[0]
    noon = datetime(2026, 3, 3, 3, tzinfo=UTC)
    assert elapsed_of(spending, noon) == pytest.approx(part)
    for_ever = Rulebook((MoneyBudget.model_validate(document | {"period": "all"}),))
    assert elapsed_of(for_ever.terms(playbook(100)).spends[0], noon) is None


def test_a_budget_for_all_time_has_the_pace_that_it_is_given() -> None:
    spending = Rulebook((FOR_A_DAY,)).terms(playbook(100)).spends[0]
    half = {spending.budget(START).key: LIMIT // 2}
    day = timedelta(days=1)
    moments = [START - day, START, START + day / 4, START + day / 2, START + day, START + 2 * day]
    assert [elapsed_of(spending, one) for one in moments] == [0.0, 0.0, 0.25, 0.5, 1.0, 1.0]
    early, at_once, quarter, on_time, over, after = (price_now(spending, half, one) for one in moments)
    assert early == at_once == pytest.approx(20 * np.log(2))
    assert 0 < quarter < at_once
    # Once the pace is over what is left is anybody's.
    assert on_time == over == after == 0.0


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            {"period": "day", "paced_from": START, "paced_until": START},
            "a budget for each day is paced over it",
        ),
        ({"paced_until": START}, "a pace has both"),
        ({"paced_from": START, "paced_until": START}, "lies before paced_from, or on it"),
        ({"paced_from": "2026-03-02", "paced_until": "2026-03-03T00:00:00"}, "timezone"),
    ],
)
def test_a_pace_that_makes_no_sense_is_refused(given: Mapping[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        MoneyBudget.model_validate({**BUDGET.model_dump(), "period": "all", **given})


def test_the_price_is_recorded_and_replayed() -> None:
    rules = Rulebook((BUDGET,))
    spending = rules.terms(playbook(100)).spends[0]
    noon = START + timedelta(hours=12)
    answers = {}
    for taken in (30_000, 40_000):
        snapshot = Snapshot(Library((playbook(100),), rules=rules), Told(), "seed", costs={"EUR": RATE})
        circumstances = Circumstances(levels={spending.budget(noon).key: taken})
        request = Request("id", "ann", "home", "k")
        decision = decide(
            snapshot,
            request,
            features={"worth": 0.3},
            audiences=frozenset(),
            circumstances=circumstances,
            now=noon,
        )
        assert replay(decision, Told()) == decision
        answers[taken] = decision
    assert (answers[30_000].arm, answers[30_000].prices) == ("coupon/five", {})
    dear = answers[40_000]
    assert dear.prices == {spending.rule: pytest.approx(20 * np.log(0.5 / (1 / 3)))}
    assert list(dear.costs) == pytest.approx([RATE * 100 * (1 + dear.prices[spending.rule])])
    assert dear.arm == DO_NOTHING
    assert replay(msgspec.structs.replace(dear, costs=[0.1]), Told()).arm == "coupon/five"
