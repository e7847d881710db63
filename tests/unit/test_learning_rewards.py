from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.rewards import Decided, Mature, Outcome, Pending, credit, reward
from playbooks.models import Arm, Goal

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
WINDOW = timedelta(days=14)
GOAL = Goal(
    event="order_completed",
    where="list_contains(event.categories, arm.category)",
    window=WINDOW,
    value=2.5,
)
CATEGORIES = ("MILK", "BACON")


def decided(id_: str = "d", *, at: datetime = START, category: str = "MILK", user: str = "u") -> Decided:
    arm = Arm(f"p/{category}", "p", category, "mailbox", "notice", {"category": category})
    return Decided(id_, user, at, GOAL, arm)


def bought(id_: str, at: datetime, *categories: str, user: str = "u", **properties: Any) -> Outcome:
    return Outcome(id_, user, "order_completed", at, {"categories": list(categories), **properties})


def test_it_is_too_early_until_the_window_closes() -> None:
    hit = [bought("e", START, "MILK")]
    closes = START + WINDOW
    assert reward(GOAL, decided(), hit, closes - timedelta(microseconds=1)) == Pending(closes)
    assert reward(GOAL, decided(), hit, closes) == Mature(2.5, "e")


@pytest.mark.parametrize(
    ("moment", "value"),
    [
        (START - timedelta(microseconds=1), 0.0),
        (START, 2.5),
        (START + WINDOW - timedelta(microseconds=1), 2.5),
        (START + WINDOW, 0.0),
    ],
)
def test_the_window_holds_its_start_and_not_its_end(moment: datetime, value: float) -> None:
    assert reward(GOAL, decided(), [bought("e", moment, "MILK")], START + WINDOW) == Mature(
        value, "e" if value else None
    )


def test_only_what_the_goal_names_counts() -> None:
    others = [
        bought("a", START, "BACON"),
        Outcome("b", "u", "cart_viewed", START, {"categories": ["MILK"]}),
        bought("c", START, "MILK", user="someone else"),
        Outcome("d", "u", "order_completed", START, {}),
        Outcome("e", "u", "order_completed", START, {"categories": "MILK"}),
        Outcome("f", "u", "order_completed", START, {"categories": 7}),
        Outcome("g", "u", "order_completed", START, {"categories": [["MILK"]]}),
    ]
    assert reward(GOAL, decided(), others, START + WINDOW) == Mature(0.0, None)


def test_the_first_of_many_hits_earns_and_the_others_nothing() -> None:
    hits = [bought(str(day), START + timedelta(days=day), "MILK") for day in (3, 1, 2)]
    assert reward(GOAL, decided(), hits, START + WINDOW) == Mature(2.5, "1")


def test_a_goal_without_a_rule_takes_any_event_of_its_name() -> None:
    goal = Goal(event="order_completed", window=WINDOW)
    assert reward(goal, decided(), [bought("e", START)], START + WINDOW) == Mature(1.0, "e")


def test_doing_nothing_is_mature_at_once() -> None:
    idle = Decided("d", "u", START, None, None)
    assert reward(None, idle, [bought("e", START, "MILK")], START) == Mature(0.0, None)


moments = st.integers(-3, 40).map(lambda day: START + timedelta(days=day))
decisions = st.lists(
    st.tuples(moments, st.sampled_from(CATEGORIES), st.sampled_from(["u", "v"])), max_size=8
).map(lambda many: [decided(f"d{i}", at=at, category=c, user=u) for i, (at, c, u) in enumerate(many)])
outcomes = st.lists(
    st.tuples(
        moments,
        st.lists(st.sampled_from(CATEGORIES), max_size=2),
        st.sampled_from(["u", "v"]),
        st.sampled_from([None, None, "d0", "d1", "unknown"]),
    ),
    max_size=8,
).map(
    lambda many: [
        bought(f"e{i}", at, *c, user=u, **({"decision_id": named} if named else {}))
        for i, (at, c, u, named) in enumerate(many)
    ]
)


@given(decisions, outcomes)
def test_each_outcome_goes_to_one_decision_the_latest_it_fits(
    made: list[Decided], happened: list[Outcome]
) -> None:
    credited = credit(made, happened)
    owners = {outcome.event_id: owner for owner, some in credited.items() for outcome in some}
    assert len(owners) == sum(len(some) for some in credited.values())
    for outcome in happened:
        named = outcome.properties.get("decision_id")
        fits = [
            one
            for one in made
            if one.user_id == outcome.user_id
            and one.decided_at <= outcome.occurred_at < one.decided_at + WINDOW
            and one.arm is not None
            and one.arm.attributes["category"] in outcome.properties["categories"]
            and named in (None, one.decision_id)
        ]
        latest = max(fits, key=lambda one: (one.decided_at, one.decision_id), default=None)
        assert owners.get(outcome.event_id) == (latest.decision_id if latest else None)
