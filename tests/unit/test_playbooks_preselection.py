"""Of many arms a fixed, logged part takes part in a draw; guards shape what is offered to whom before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playbooks.decision import Decision
from playbooks.flow import Flow
from playbooks.goal_documents import Goal
from playbooks.guards import LoyalGuard
from playbooks.library import Library, PublishedPlaybook
from playbooks.matching import Request, Snapshot, decide, replay
from playbooks.models import DO_NOTHING, Arm, Playbook, VariantSet
from playbooks.policy import FloatArray, Stakes
from playbooks.preselection import OF_A_DRAW, OF_A_PLAYBOOK, PRESELECTION_RULE

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FLOW = Flow.model_validate({"start": "over", "states": {"over": {"kind": "end", "result": "done"}}})
GUARD = LoyalGuard(loyal="gold", newer="fresh")


class ByValue:
    """A policy to which an arm is worth what it promises; it draws evenly."""

    version = "by_value@1"
    inputs: frozenset[str] = frozenset()

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        return np.array([arm.value / 100 for arm in arms])

    def deviations(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray | None:
        return None

    def explore(self, stakes: Stakes) -> FloatArray:
        return np.full(len(stakes.values), 1 / len(stakes.values))


def playbook(name: str, values: Sequence[int], **given: Any) -> PublishedPlaybook:
    document = Playbook(
        id=name,
        name=name,
        placement="home",
        goal=Goal(event="order_completed", window=timedelta(days=14)),
        variants=[VariantSet(group="any", channel="mailbox", content="notice")],
        flow=FLOW,
        **given,
    )
    arms = tuple(
        Arm(f"{name}/a{place}", name, "o", "mailbox", "notice", {}, value=value, currency="EUR")
        for place, value in enumerate(values)
    )
    return PublishedPlaybook(document, 1, arms)


def ask(
    *playbooks: PublishedPlaybook,
    user: str = "ann",
    audiences: frozenset[str] = frozenset(),
    guards: Sequence[LoyalGuard] = (),
) -> Decision:
    snapshot = Snapshot(Library(playbooks), ByValue(), "seed", guards=guards)
    decision = decide(snapshot, Request("id", user, "home", "k"), features={}, audiences=audiences, now=NOW)
    assert replay(decision, ByValue()) == decision
    return decision


def test_of_a_playbook_the_best_take_part_and_some_by_hash() -> None:
    many = playbook("many", range(200))
    decision = ask(many, playbook("few", [1, 2]))
    took = {arm for arm in decision.arms if arm.startswith("many/")}
    assert len(took) == OF_A_PLAYBOOK
    assert {f"many/a{place}" for place in range(152, 200)} <= took
    assert {"few/a0", "few/a1"} <= set(decision.arms)
    assert decision.arms[-1] == DO_NOTHING
    assert set(decision.suppressed[PRESELECTION_RULE]) == {arm.id for arm in many.arms} - took
    assert ask(many, playbook("few", [1, 2])).arms == decision.arms
    assert sum(decision.probabilities) == pytest.approx(1)
    seen = {arm for number in range(120) for arm in ask(many, user=f"u{number}").arms}
    assert len(seen) == 201


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 150), min_size=1, max_size=8))
def test_there_are_never_more_than_the_limits(sizes: list[int]) -> None:
    books = [playbook(f"p{place}", range(size)) for place, size in enumerate(sizes)]
    decision = ask(*books)
    assert len(decision.arms) <= OF_A_DRAW
    for book in books:
        assert sum(arm.startswith(f"{book.id}/") for arm in decision.arms) <= OF_A_PLAYBOOK
    all_arms = {arm.id for book in books for arm in book.arms}
    assert set(decision.arms[:-1]) | set(decision.suppressed.get(PRESELECTION_RULE, ())) == all_arms
    if sum(min(size, OF_A_PLAYBOOK) for size in sizes) >= OF_A_DRAW:
        assert len(decision.arms) == OF_A_DRAW
    best = max(range(len(sizes)), key=lambda place: sizes[place])
    if sizes[best]:
        assert f"p{best}/a{sizes[best] - 1}" in decision.arms


def offered(decision: Decision, *playbooks: PublishedPlaybook) -> set[int]:
    values = {arm.id: arm.value for one in playbooks for arm in one.arms}
    return {values[arm] for arm in decision.arms[:-1]}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([None, "gold", "fresh", "other"]), st.integers(0, 1),
                       st.lists(st.integers(0, 9), min_size=1, max_size=4)), max_size=5)
)  # fmt: skip
def test_no_loyal_user_is_offered_less_than_a_newer_one(
    plans: list[tuple[str | None, int, list[int]]],
) -> None:
    books = [
        playbook(f"p{place}", values, audience=audience, priority=priority)
        for place, (audience, priority, values) in enumerate(plans)
    ]
    if not books:
        return
    loyal = [
        value
        for audiences in ({"gold"}, {"gold", "other"}, {"gold", "fresh"})
        for value in offered(ask(*books, audiences=frozenset(audiences), guards=[GUARD]), *books)
    ]
    newer = [
        value
        for audiences in ({"fresh"}, {"fresh", "other"})
        for value in offered(ask(*books, audiences=frozenset(audiences), guards=[GUARD]), *books)
    ]
    if loyal and newer:
        assert min(loyal) >= max(newer)
    if any(value > 0 for value in newer):
        assert loyal


def test_a_snapshot_that_is_replaced_in_part_decides_by_its_own_guards_and_costs() -> None:
    welcome, thanks = playbook("welcome", [500, 1500], audience="fresh"), playbook("thanks", [1000])
    books = tuple(
        replace(one, arms=tuple(msgspec.structs.replace(arm, cost=arm.value) for arm in one.arms))
        for one in (welcome, thanks)
    )
    served = Snapshot(Library(books), ByValue(), "seed")

    def asked(snapshot: Snapshot) -> Decision:
        request = Request("id", "ann", "home", "k")
        return decide(snapshot, request, features={}, audiences=frozenset({"fresh"}), now=NOW)

    assert offered(asked(served), *books) == {500, 1000, 1500}
    guarded = replace(served, guards=[GUARD], costs={"EUR": 0.1})
    shaped = asked(guarded)
    assert offered(shaped, *books) == {500, 1000}
    assert shaped.suppressed["guard.gold"] == ["welcome/a1"]
    assert sorted(shaped.costs) == pytest.approx([50, 100])
    assert asked(replace(guarded, guards=[], costs={})) == asked(served)


def test_what_a_guard_stops_is_logged_and_others_are_left_alone() -> None:
    welcome = playbook("welcome", [500, 1500], audience="fresh", priority=1)
    thanks = playbook("thanks", [300, 1000], audience="gold")
    receipt = playbook("receipt", [9000], audience="fresh", priority=1, purpose="service")
    books = (welcome, thanks, receipt)
    fresh = ask(*books, audiences=frozenset({"fresh"}), guards=[GUARD])
    assert offered(fresh, *books) == {500, 9000}
    assert fresh.suppressed["guard.gold"] == ["welcome/a1"]
    gold = ask(*books, audiences=frozenset({"gold"}), guards=[GUARD])
    assert offered(gold, *books) == {1000}
    assert gold.suppressed["guard.gold"] == ["thanks/a0"]
    assert "guard.gold" not in ask(*books, audiences=frozenset({"fresh"})).suppressed
    with pytest.raises(ValueError, match="two audiences"):
        LoyalGuard(loyal="gold", newer="gold")


class Greedy(ByValue):
    """The arm that is worth most, surely."""

    def explore(self, stakes: Stakes) -> FloatArray:
        vector = np.zeros(len(stakes.values))
        vector[int(stakes.values.argmax())] = 1.0
        return vector


def test_what_an_arm_costs_counts_against_it() -> None:
    arms = [(300, 100), (500, 450), (400, 0)]
    book = playbook("p", [value for value, _ in arms])
    costly = tuple(
        msgspec.structs.replace(arm, cost=cost, currency=currency)
        for arm, (_, cost), currency in zip(book.arms, arms, ("EUR", "EUR", "JPY"), strict=True)
    )
    book = PublishedPlaybook(book.document.model_copy(update={"weight": 0.5}), 1, costly)
    chosen = []
    for rate in (0.0, 0.001, 0.01):
        snapshot = Snapshot(Library((book,)), Greedy(), "seed", costs={"EUR": rate})
        decision = decide(
            snapshot, Request("id", "ann", "home", "k"), features={}, audiences=frozenset(), now=NOW
        )
        assert replay(decision, Greedy()) == decision
        assert list(decision.costs) == ([] if rate == 0 else [100 * rate, 450 * rate, 0.0])
        if decision.costs:
            dear = msgspec.structs.replace(decision, costs=[0.0, 0.0, 9.0])
            assert replay(dear, Greedy()).arm == "p/a1"
        chosen.append(decision.arm)
    # Worth 1.5, 2.5 and 2: then less .1 and .45, then less 1 and 4.5.
    assert chosen == ["p/a1", "p/a1", "p/a2"]
    lone = PublishedPlaybook(book.document, 1, costly[:2])
    nothing = decide(
        Snapshot(Library((lone,)), Greedy(), "seed", costs={"EUR": 1.0}),
        Request("id", "ann", "home", "k"),
        features={},
        audiences=frozenset(),
        now=NOW,
    )
    assert nothing.arm == DO_NOTHING
