"""Matching is pure: what it is given decides, and its record is enough to do it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.rules import Schema, Type
from playbooks.constraints.circumstances import Circumstances, Recorded
from playbooks.constraints.documents import Cap, Layer
from playbooks.constraints.rulebook import Rulebook
from playbooks.decision import Decision
from playbooks.draws import draw_of, pick
from playbooks.errors import PolicyBroken, UnknownPlacement
from playbooks.flow import Flow
from playbooks.goal_documents import Goal
from playbooks.holdouts import PRIORITY_RULE, UNIVERSAL, holdout_of, holdout_rule
from playbooks.library import Library, PublishedPlaybook, expand
from playbooks.matching import Request, Snapshot, decide, fall_back, replay
from playbooks.models import DO_NOTHING, Arm, Playbook, VariantSet
from playbooks.offers import Offer
from playbooks.policy import FloatArray, Stakes
from storage.times import to_micros

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OFFERS = {
    name: Offer(id=name, name=name, attributes={"group": "fruit", "category": name})
    for name in ("apple", "pear", "plum")
}
FLOW = Flow.model_validate({"start": "over", "states": {"over": {"kind": "end", "result": "done"}}})


class Favourite:
    """A policy that scores by a feature and gives every arm the same floor."""

    version = "favourite@1"
    inputs = frozenset({"likes"})

    def __init__(self, vector: Sequence[float] | None = None, scores: Sequence[float] | None = None) -> None:
        self._vector = vector
        self._scores = scores

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        if self._scores is not None:
            return np.array(self._scores)
        return np.array([1.0 if arm.offer == features["likes"] else 0.1 for arm in arms])

    def deviations(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray | None:
        return None

    def explore(self, stakes: Stakes) -> FloatArray:
        if self._vector is not None:
            return np.array(self._vector)
        vector = np.full(len(stakes.values), 0.2 / len(stakes.values))
        vector[int(stakes.values.argmax())] += 0.8
        return vector


def playbook(name: str, **given: Any) -> PublishedPlaybook:
    document = Playbook(
        id=name,
        name=name,
        placement="home",
        goal=Goal(event="order_completed", window=timedelta(days=14)),
        variants=[VariantSet(group="fruit", channel="mailbox", content="notice")],
        flow=FLOW,
        **given,
    )
    return PublishedPlaybook(document, 1, expand(document, OFFERS))


def test_a_placement_where_all_is_paused_has_nothing_to_give() -> None:
    what = Snapshot(Library((), frozenset({"home"})), Favourite(), "seed")
    assert ask(what).arm == DO_NOTHING
    with pytest.raises(UnknownPlacement):
        ask(Snapshot(Library(()), Favourite(), "seed"))


def snapshot(
    *playbooks: PublishedPlaybook, policy: Favourite | None = None, holdout: float = 0.0
) -> Snapshot:
    return Snapshot(Library(playbooks), policy or Favourite(), "seed", holdout)


def ask(
    what: Snapshot,
    *,
    audiences: frozenset[str] = frozenset(),
    uses: Any = None,
    key: str = "k",
    user: str = "ann",
) -> Decision:
    request = Request("id", user, "home", key)
    return decide(
        what,
        request,
        features={"likes": "pear"},
        audiences=audiences,
        circumstances=Circumstances(uses or {}),
        now=NOW,
    )


def test_the_record_says_all() -> None:
    decision = ask(snapshot(playbook("everyone")))
    assert decision.arms == ["everyone/apple", "everyone/pear", "everyone/plum", DO_NOTHING]
    assert decision.scores == [0.1, 1.0, 0.1]
    assert sum(decision.probabilities) == pytest.approx(1)
    assert decision.propensity == decision.probabilities[decision.chosen]
    assert decision.features == {"likes": "pear"}


def test_only_the_users_audiences_count() -> None:
    what = snapshot(playbook("everyone"), playbook("gold_only", audience="gold", priority=5))
    assert ask(what).arms[0].startswith("everyone/")
    inside = ask(what, audiences=frozenset({"gold"}))
    assert {arm.split("/")[0] for arm in inside.arms[:-1]} == {"gold_only"}
    assert inside.suppressed == {PRIORITY_RULE: ["everyone"]}


def test_a_full_cap_gives_way_to_the_next_priority() -> None:
    capped = playbook("weekly", priority=5, constraints=[Cap(id="one", limit=1, window=timedelta(days=7))])
    what = snapshot(playbook("everyone"), capped)
    uses = {"cap.weekly.one": [to_micros(NOW - timedelta(days=6))]}
    decision = ask(what, uses=uses)
    assert decision.suppressed == {"cap.weekly.one": ["weekly"]}
    assert decision.arms[0].startswith("everyone/")
    assert decision.uses == {"cap.weekly.one": 1}


def test_a_rule_on_single_arms_leaves_the_others_in_the_draw() -> None:
    cap = {"id": "pears", "limit": 1, "window": "P7D", "for": {"offers": ["pear"]}}
    what = snapshot(playbook("everyone", constraints=[cap]))
    decision = ask(what, uses={"cap.everyone.pears": [to_micros(NOW)]})
    assert decision.suppressed == {"cap.everyone.pears": ["everyone/pear"]}
    assert decision.arms == ["everyone/apple", "everyone/plum", DO_NOTHING]
    assert replay(decision, what.policy) == decision
    assert ask(what).suppressed == {}


def test_of_an_exclusive_group_one_competes_and_users_share_equal_ones() -> None:
    rivals = [playbook(name, exclusive_group="coupons") for name in ("a", "b")]
    what = snapshot(*rivals, playbook("c"))
    first = {}
    for number in range(200):
        decision = ask(what, user=f"user-{number}")
        (stopped,) = decision.suppressed["group.coupons"]
        assert {arm.partition("/")[0] for arm in decision.arms[:-1]} == {"a", "b", "c"} - {stopped}
        first[f"user-{number}"] = stopped
    assert 70 < list(first.values()).count("a") < 130
    assert all(
        ask(what, user=user, key="other").suppressed["group.coupons"] == [one] for user, one in first.items()
    )
    above = snapshot(rivals[0], playbook("b", exclusive_group="coupons", priority=1))
    assert ask(above).suppressed == {"group.coupons": ["a"]}


def test_below_its_minimum_a_playbook_goes_before_all_others() -> None:
    quota = {"kind": "quota", "id": "trial", "period": "day", "minimum": 2}
    what = snapshot(playbook("new", constraints=[quota], priority=-1), playbook("usual", priority=9))
    key = "quota.new.trial@2026-03-02"

    def at(taken: int) -> Decision:
        request, known = Request("id", "ann", "home", "k"), Circumstances(levels={key: taken})
        features = {"likes": "pear"}
        return decide(what, request, features=features, audiences=frozenset(), circumstances=known, now=NOW)

    assert at(1).suppressed == {"quota.new.trial": ["usual"]}
    assert at(1).circumstances.levels == {key: 1}
    assert at(2).suppressed == {PRIORITY_RULE: ["new"]}


def test_fatigue_is_taken_from_the_value_and_recorded() -> None:
    rule = {"kind": "fatigue", "id": "tired", "cost": "1.00 EUR", "half_life": "P2D"}
    library = Library((playbook("everyone", constraints=[rule]), playbook("fresh")))
    what = Snapshot(library, Favourite(), "seed", costs={"EUR": 0.002})
    known = Circumstances({"fatigue.everyone.tired": [to_micros(NOW - timedelta(days=2))]})
    request, features = Request("id", "ann", "home", "k"), {"likes": "pear"}
    decision = decide(what, request, features=features, audiences=frozenset(), circumstances=known, now=NOW)
    assert decision.fatigue == {"everyone": 0.1}
    assert decision.costs == pytest.approx([0.1, 0.1, 0.1, 0, 0, 0])
    # Both playbooks' pears score alike; the one that tires is worth less.
    assert decision.probabilities[4] > decision.probabilities[1]
    assert replay(decision, what.policy) == decision


def test_what_rules_asked_for_is_in_the_record() -> None:
    layer = Layer(kind="eligibility", id="adults", rule="age >= 18 and tag('calm')")
    library = Library((playbook("everyone"),), rules=Rulebook((layer,), 3, Schema({"age": Type.NUMBER})))
    what = Snapshot(library, Favourite(), "seed")
    known = Circumstances(tags=frozenset({"calm", "rich"}), zone="Europe/Berlin")
    request, features = Request("id", "ann", "home", "k"), {"likes": "pear", "age": 17.0}
    decision = decide(what, request, features=features, audiences=frozenset(), circumstances=known, now=NOW)
    assert decision.suppressed == {"eligibility.adults": ["everyone"]}
    assert (decision.features, decision.constraints) == (features, 3)
    assert decision.circumstances == Recorded(zone="Europe/Berlin", tags=["calm", "rich"])
    again = msgspec.json.decode(msgspec.json.encode(decision), type=Decision)
    assert again == decision


def test_a_use_older_than_the_window_is_forgotten() -> None:
    capped = playbook("weekly", constraints=[Cap(id="one", limit=1, window=timedelta(days=7))])
    decision = ask(snapshot(capped), uses={"cap.weekly.one": [to_micros(NOW - timedelta(days=7))]})
    assert decision.suppressed == {}
    assert decision.arms[0].startswith("weekly/")


def test_without_any_playbook_nothing_is_done() -> None:
    decision = ask(snapshot(playbook("gold_only", audience="gold")))
    assert decision.arms == [DO_NOTHING]
    assert decision.arm == DO_NOTHING
    assert not decision.acts


def test_an_unknown_placement_is_named() -> None:
    with pytest.raises(UnknownPlacement, match=r"'checkout'.*placements are home"):
        decide(
            snapshot(playbook("everyone")),
            Request("id", "ann", "checkout", "k"),
            features={},
            audiences=frozenset(),
            now=NOW,
        )


def test_a_lever_weighs_scores() -> None:
    loud = snapshot(playbook("a_plain"), playbook("b_loud", weight=3.0))
    decision = ask(loud, key="another")
    best = decision.arms[int(np.argmax(decision.probabilities))]
    assert best == "b_loud/pear"


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        (Favourite(vector=[0.5, 0.5, 0.5, 0.5]), "sum is 2"),
        (Favourite(vector=[1.2, -0.2, 0.0, 0.0]), "no distribution"),
        (Favourite(vector=[1.0]), "no distribution"),
        (Favourite(scores=[np.nan, 0.0, 0.0]), "finite"),
        (Favourite(scores=[0.0, 0.0]), "finite"),
    ],
)
def test_a_broken_policy_is_refused(policy: Favourite, what: str) -> None:
    with pytest.raises(PolicyBroken, match=what):
        ask(snapshot(playbook("everyone"), policy=policy))


@given(key=st.text(min_size=1), user=st.text(min_size=1))
def test_a_decision_replays_from_its_record(key: str, user: str) -> None:
    decision = ask(snapshot(playbook("everyone")), key=key, user=user)
    stored = msgspec.json.decode(msgspec.json.encode(decision), type=Decision)
    assert replay(stored, Favourite()) == stored


def test_a_changed_score_is_found_out() -> None:
    decision = ask(snapshot(playbook("everyone")))
    forged = msgspec.structs.replace(decision, scores=[0.1, 0.05, 0.1])
    assert replay(forged, Favourite()) != forged


def test_a_fallback_is_logged_and_replays() -> None:
    what = snapshot(playbook("everyone"))
    decision = fall_back(what, Request("id", "ann", "home", "k"), NOW, "unknown_user")
    assert decision.fallback == "unknown_user"
    assert not decision.acts
    with pytest.raises(UnknownPlacement):
        fall_back(what, Request("id", "ann", "nowhere", "k"), NOW, "unknown_user")


def test_draws_are_spread_evenly_and_belong_to_their_request() -> None:
    draws = np.array([draw_of("seed", f"user-{number}", "home", "k") for number in range(20_000)])
    assert draws.min() >= 0
    assert draws.max() < 1
    # Kolmogorov's bound for 20,000 draws at one in a million.
    assert np.abs(np.sort(draws) - (np.arange(20_000) + 0.5) / 20_000).max() < 2.7 / np.sqrt(20_000)
    assert draw_of("a", "bc", "d", "e") != draw_of("ab", "c", "d", "e")


@given(
    weights=st.lists(st.floats(0, 1), min_size=1, max_size=60).filter(lambda values: sum(values) > 0.01),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_an_arm_of_probability_zero_is_never_picked(weights: list[float], draw: float) -> None:
    vector = np.array(weights) / sum(weights)
    assert vector[pick(vector.tolist(), draw)] > 0


def test_picks_follow_the_vector() -> None:
    vector = np.array([0.2, 0.5, 0.0, 0.3])
    assert [pick(vector.tolist(), draw) for draw in (0.0, 0.199, 0.2, 0.699, 0.7, 0.999999)] == [
        0,
        0,
        1,
        1,
        3,
        3,
    ]


USERS = [f"user-{number}" for number in range(4000)]


def test_a_share_of_users_is_held_out_whatever_else_is_held_out() -> None:
    one, other = (playbook(name, holdout=0.2).document for name in ("one", "other"))
    service = playbook("service", purpose="service").document
    held = [holdout_of(user, "seed", 0.1) for user in USERS]
    all_, first, second = ([rule(it) for rule in held] for it in (service, one, other))
    assert set(all_) == {None}
    assert np.mean([rule == UNIVERSAL for rule in first]) == pytest.approx(0.1, abs=0.02)
    assert np.mean([rule == "holdout.one" for rule in first]) == pytest.approx(0.18, abs=0.02)
    both = np.mean([None not in pair and UNIVERSAL not in pair for pair in zip(first, second, strict=True)])
    assert both == pytest.approx(0.9 * 0.2 * 0.2, abs=0.015)
    assert [holdout_of(user, "seed", 0.1)(one) for user in USERS[:50]] == first[:50]
    assert [holdout_of(user, "salt", 0.1)(one) for user in USERS[:500]] != first[:500]


def held_out(what: Snapshot) -> Decision:
    """Return a decision of somebody who is held out."""
    decisions = (ask(what, user=user) for user in USERS)
    return next(decision for decision in decisions if decision.holdout)


def test_a_control_decision_is_made_and_logged_like_any_other() -> None:
    what = snapshot(playbook("everyone"), playbook("receipt", purpose="service"), holdout=0.05)
    control = held_out(what)
    assert control.holdout == (UNIVERSAL,)
    assert control.suppressed == {UNIVERSAL: ["everyone"]}
    assert {arm.split("/")[0] for arm in control.arms[:-1]} == {"receipt"}
    assert replay(control, what.policy) == control
    alone = held_out(snapshot(playbook("everyone"), holdout=0.05))
    assert (alone.arms, alone.propensity, alone.fallback) == ([DO_NOTHING], 1.0, None)


def test_who_is_held_out_gets_what_would_be_there_without_the_playbook() -> None:
    what = snapshot(playbook("everyone"), playbook("gold", priority=5, holdout=0.1))
    control = held_out(what)
    assert control.suppressed == {holdout_rule("gold"): ["gold"]}
    assert control.arms[0].startswith("everyone/")


def test_an_outranked_playbook_holds_nobody_out() -> None:
    what = snapshot(playbook("everyone", holdout=0.5), playbook("gold", priority=5))
    assert all(not ask(what, user=user).holdout for user in USERS[:50])


def test_a_full_cap_holds_nobody_out() -> None:
    capped = playbook("weekly", holdout=0.5, constraints=[Cap(id="one", limit=1, window=timedelta(days=7))])
    uses = {"cap.weekly.one": [to_micros(NOW)]}
    assert all(not ask(snapshot(capped), uses=uses, user=user).holdout for user in USERS[:50])
