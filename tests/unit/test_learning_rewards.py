from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from feature_repo.specs import load_specs
from learning.rewards import Decided, Mature, Outcome, Pending, credit, reward
from playbooks.goal_documents import OPT_OUT, FromProperty, Goal, Negative
from playbooks.goals import know_events
from playbooks.models import Arm

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


def earned(goal: Goal, *outcomes: Outcome) -> Mature:
    found = reward(goal, decided(), outcomes, START + WINDOW)
    assert isinstance(found, Mature)
    return found


def test_it_is_too_early_until_the_window_closes() -> None:
    hit = [bought("e", START, "MILK")]
    closes = START + WINDOW
    assert reward(GOAL, decided(), hit, closes - timedelta(microseconds=1)) == Pending(closes)
    assert reward(GOAL, decided(), hit, closes) == Mature(2.5, "e", delay=timedelta(0))


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
    found = earned(GOAL, bought("e", moment, "MILK"))
    assert (found.value, found.outcome) == (value, "e" if value else None)


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
    assert earned(GOAL, *hits) == Mature(2.5, "1", delay=timedelta(days=1))


def test_a_goal_without_a_rule_takes_any_event_of_its_name() -> None:
    goal = Goal(event="order_completed", window=WINDOW)
    assert earned(goal, bought("e", START)).value == 1.0


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


def paid(id_: str, day: int, value: Any, **properties: Any) -> Outcome:
    return Outcome(id_, "u", "order_completed", START + timedelta(days=day), {"value": value, **properties})


def valued(**more: Any) -> Goal:
    value = FromProperty(property="value", most=50.0, currency="EUR")
    return Goal(**{"event": "order_completed", "window": WINDOW, "value": value, **more})


ORDERS = [paid("a", 1, 10.0), paid("b", 3, 80.0), paid("c", 2, 30.0)]


@pytest.mark.parametrize(
    ("aggregation", "value", "outcome"),
    [("first", 10.0, "a"), ("last", 50.0, "b"), ("max", 50.0, "b"), ("sum", 75.0, "a")],
)
def test_outcomes_count_as_the_goal_aggregates_them(aggregation: str, value: float, outcome: str) -> None:
    most = {"most": 75.0} if aggregation == "sum" else {}
    found = earned(valued(aggregation=aggregation, **most), *ORDERS)
    assert (found.value, found.outcome) == (value, outcome)


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (paid("e", 1, float("nan")), "value is nan, not a number from 0 on"),
        (paid("e", 1, float("inf")), "value is inf, not a number from 0 on"),
        (paid("e", 1, -3), "value is -3, not a number from 0 on"),
        (paid("e", 1, "12"), "value is '12', not a number"),
        (paid("e", 1, None), "value is None, not a number"),
        (paid("e", 1, True), "value is True, not a number"),
        (paid("e", 1, 5, currency="USD"), "value is in 'USD', and the goal counts EUR"),
    ],
)
def test_a_value_that_is_none_is_refused_and_the_others_count(order: Outcome, why: str) -> None:
    found = earned(valued(default=-1.0), order)
    assert (found.value, found.outcome) == (-1.0, None)
    assert [(one.outcome.event_id, one.why) for one in found.refused] == [("e", why)]
    assert earned(valued(), order, paid("f", 2, 7, currency="EUR")).value == 7.0


def test_the_cost_that_outcomes_say_is_told_apart() -> None:
    goal = valued(cost=FromProperty(property="discount", times=0.5, most=5.0))
    found = earned(goal, paid("a", 1, 20.0, discount=4.0))
    assert (found.value, found.cost) == (20.0, 2.0)
    assert earned(goal, paid("a", 1, 20.0, discount=400.0)).cost == 5.0
    assert earned(goal).cost == 0.0
    assert goal.bounds == (-5.0, 50.0)


def test_each_kind_that_speaks_against_a_decision_counts_once_in_its_own_window() -> None:
    returned = Negative(
        event="order_returned", where="event.value > 5", window=timedelta(days=30), value=-3.0
    )
    goal = valued(negatives=[returned, Negative(opt_out=True, value=-10.0)])

    def back(id_: str, day: int, value: float = 9.0) -> Outcome:
        return Outcome(id_, "u", "order_returned", START + timedelta(days=day), {"value": value})

    def left(day: int) -> Outcome:
        return Outcome("out", "u", OPT_OUT, START + timedelta(days=day), {})

    know_events({"order_returned": {"value": "float"}, "order_completed": {"value": "float"}})
    try:
        assert earned(goal, ORDERS[0], back("x", 2), back("y", 20)).value == 7.0
        assert earned(goal, back("x", 29)).against == ("x",)
        assert earned(goal, back("x", 30), back("y", 3, value=1.0)).value == 0.0
        assert earned(goal, left(13), back("x", 3)).value == -13.0
        # Its window is the goal's.
        assert earned(goal, left(14)).value == 0.0
    finally:
        know_events(load_specs().events.events)
    assert goal.bounds == (-13.0, 50.0)
    assert goal.longest == timedelta(days=30)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"aggregation": "sum"}, "a sum needs a bound"),
        ({"most": 3.0}, "most bounds a sum"),
        ({"aggregation": "sum", "most": 0.0}, "most must be above 0"),
        ({"value": {"property": "value"}}, "value.property.most\n  Field required"),
        ({"value": {"property": "value", "most": 1, "currency": "EURO"}}, "there is no currency 'EURO'"),
        ({"value": float("inf")}, "finite"),
        ({"negatives": [{"event": "x", "value": 1.0}]}, "less than 0"),
        ({"negatives": [{"value": -1.0}]}, "just one of event, opt_out"),
        ({"negatives": [{"event": "x", "opt_out": True, "value": -1.0}]}, "just one of event, opt_out"),
        ({"negatives": [{"opt_out": True, "where": "true", "value": -1.0}]}, "where is a rule over an event"),
        ({"window": timedelta(0)}, "greater than 0"),
    ],
)
def test_a_goal_that_makes_no_sense_is_refused(document: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Goal(**{"event": "order_completed", "window": WINDOW, **document})
