"""What exploring costs is counted in money, and when a day's budget is spent only the floor remains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from learning.exploration import narrowed, with_floor
from playbooks.constraints.circumstances import Circumstances
from playbooks.decision import Decision
from playbooks.exploring import ExplorationBudget, Exploring, losses
from playbooks.library import Library
from playbooks.matching import Request, Snapshot, decide, replay
from playbooks.models import Arm
from playbooks.money import Money
from playbooks.policy import FloatArray, Stakes
from tests.unit.test_playbooks_matching import NOW, playbook

KEY = "exploration.everyone@2026-03-02"
FLOOR = 0.04


class Curious:
    """A policy that draws arms evenly, but for what is narrowed."""

    version = "curious@1"
    inputs = frozenset({"likes"})

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        return np.array([1.0 if arm.offer == features["likes"] else 0.5 for arm in arms])

    def deviations(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray | None:
        return None

    def explore(self, stakes: Stakes) -> FloatArray:
        vector = np.full(len(stakes.values), 1 / len(stakes.values))
        return narrowed(vector, stakes.values, stakes.narrowed, FLOOR) if stakes.narrowed else vector


def decided(taken: int, *, rate: float = 0.01, others: Sequence[Any] = ()) -> Decision:
    explores = {"exploration_budget": {"amount": "10.00 EUR"}}
    library = Library((playbook("everyone", **explores), *others))
    what = Snapshot(library, Curious(), "seed", costs={"EUR": rate})
    request, known = Request("id", "ann", "home", "k"), Circumstances(levels={KEY: taken})
    made = decide(
        what, request, features={"likes": "pear"}, audiences=frozenset(), circumstances=known, now=NOW
    )
    assert replay(made, what.policy) == made
    return made


def test_a_decision_tells_what_exploring_cost_in_money() -> None:
    made = decided(0)
    # Apple and plum lose 0.5 each, doing nothing 1.0, each drawn with 1/4; a unit of reward is one euro.
    assert made.explored == {"everyone": 50_000}
    assert made.narrowed == []
    assert made.circumstances.levels == {KEY: 0}


def test_when_the_budget_is_spent_only_the_floor_remains() -> None:
    assert decided(10 * 100 * 1000 - 50_000).narrowed == []
    made = decided(10 * 100 * 1000 - 49_999)
    assert made.narrowed == ["everyone"]
    np.testing.assert_allclose(made.probabilities, [0.01, 0.97, 0.01, 0.01])
    assert made.explored == {"everyone": 2_000}


def test_what_another_playbook_explores_is_not_this_ones() -> None:
    made = decided(10**9, others=[playbook("other")])
    assert made.narrowed == ["everyone"]
    assert made.explored.keys() == {"everyone"}
    assert min(made.probabilities[3:6]) == pytest.approx(1 / 7)


def test_money_that_is_worth_nothing_said_is_not_counted() -> None:
    what = Snapshot(
        Library((playbook("everyone", exploration_budget={"amount": "1.00 USD"}),)), Curious(), "s"
    )
    request = Request("id", "ann", "home", "k")
    made = decide(what, request, features={"likes": "pear"}, audiences=frozenset(), now=NOW)
    assert (made.explored, made.narrowed) == ({}, [])


@pytest.mark.parametrize("wrong", ["0.00 EUR", "10000000000000.00 EUR", "5 euros"])
def test_a_budget_that_can_not_be_counted_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError):
        ExplorationBudget.model_validate({"amount": wrong})
    with pytest.raises(ValidationError, match="zone"):
        ExplorationBudget.model_validate({"amount": "1.00 EUR", "zone": "Mars/Base"})


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=6),
    st.lists(st.floats(0.01, 1), min_size=7, max_size=7),
    st.floats(0, 0.5),
)
def test_narrowing_gives_a_distribution_that_never_costs_more(
    worth: list[float], masses: list[float], floor: float
) -> None:
    values = np.array([*worth, 0.0])
    vector = with_floor(np.array(masses[: len(values)]) / sum(masses[: len(values)]), floor)
    owners = ["p"] * len(worth)
    known = {"p": Exploring(ExplorationBudget(amount=Money(100, "EUR")), 0, 0.01)}
    less = narrowed(vector, values, range(len(values)), floor)
    assert less.sum() == pytest.approx(1.0)
    assert (less >= 0).all()
    before, after = (losses(values, one, owners, known).get("p", 0) for one in (vector, less))
    assert after <= before + 1
