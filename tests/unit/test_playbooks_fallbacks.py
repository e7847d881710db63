"""What a placement shows where no policy can be asked: which arms may be named, and what still stops them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from pydantic import TypeAdapter

from playbooks.constraints.documents import Constraint
from playbooks.constraints.rulebook import Rulebook
from playbooks.content.documents import Content
from playbooks.controls.models import Control, Controls, Mode, Scope
from playbooks.decision import Decision
from playbooks.fallbacks import fallback_in, unfilled
from playbooks.holdouts import is_held_out
from playbooks.library import Draft, Library
from playbooks.library.trials import Trial
from playbooks.matching import Request, Snapshot, fall_back, replay
from playbooks.models import DO_NOTHING, Playbook
from playbooks.offers import Offer
from tests.deciding import Even

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
OFFERS = {
    one.id: one
    for one in (
        Offer(id="hello", name="Welcome"),
        Offer(id="coffee", name="Coffee"),
        Offer.model_validate({"id": "five", "name": "Five", "kind": "fixed_amount", "value": "5.00 EUR"}),
        Offer(id="scarce", name="Scarce", stock=3),
    )
}
CONTENTS = {
    one.id: one
    for one in (
        Content(id="notice", subject="{{ offer.name }}", body="for you", valid_until=NOW + timedelta(days=1)),
        Content(id="named", subject="s", body="Dear {{ user.name }}"),
        Content(id="maybe", subject="s", body='Dear {{ user.name | default: "you" }}'),
    )
}
_END = {"over": {"kind": "end", "result": "shown"}}
OVER = {"start": "over", "states": _END}
ISSUING = {"start": "give", "states": {"give": {"kind": "issue", "next": "over"}, **_END}}


def playbook(name: str, *offers: str, **given: Any) -> Playbook:
    content = given.pop("content", "notice")
    return Playbook.model_validate(
        {
            "id": name,
            "name": name,
            "placement": "home",
            "goal": {"event": "order_completed", "window": "P7D"},
            "variants": [{"offers": list(offers or ["hello"]), "channel": "mailbox", "content": content}],
            "flow": OVER,
            **given,
        }
    )


def library(*playbooks: Playbook, constraints: Any = ()) -> Library:
    rules = TypeAdapter(tuple[Constraint, ...]).validate_python(constraints)
    draft = Draft(playbooks, OFFERS, CONTENTS, constraints=rules)
    return draft.publish(dict.fromkeys([one.id for one in playbooks], 3))


def snapshot(what: Library, name: str = "welcome", **given: Any) -> Snapshot:
    return Snapshot(what, Even(), "seed", fallbacks={"home": name}, **given)


def fallen(what: Snapshot, user: str = "ann", at: datetime = NOW) -> Decision:
    return fall_back(what, Request("id", user, "home", "k"), at, "unknown_user")


def test_a_playbook_of_one_arm_and_an_arm_are_named() -> None:
    welcome = library(playbook("welcome", "hello"), playbook("others", "hello", "coffee"))
    for name, arm in {"welcome": "welcome/hello", "others/coffee": "others/coffee"}.items():
        found = fallback_in(welcome, name, "home")
        assert not isinstance(found, str)
        assert found.arm.id == arm


@pytest.mark.parametrize(
    ("name", "given", "constraints", "why"),
    [
        ("welcom", {}, (), "'welcom' is not live"),
        ("welcome", {"placement": "checkout"}, (), "is for the placement 'checkout'"),
        ("welcome", {"offers": ["hello", "coffee"]}, (), "has 2 arms: name one of them, welcome/hello, welc"),
        ("welcome/helo", {}, (), "has no arm 'welcome/helo', did you mean 'welcome/hello'?"),
        ("welcome", {"offers": ["five"]}, (), "gives away 'five' (fixed_amount) in 'welcome/five'"),
        ("welcome", {"offers": ["scarce"]}, (), "has 'welcome/scarce' counted by stock.scarce"),
        ("welcome", {"flow": ISSUING}, (), "issues a code (state 'give'), and a fallback begins no run"),
        (
            "welcome",
            {"constraints": [{"id": "once", "limit": 1, "window": "P7D"}]},
            (),
            "has 'welcome/hello' counted by cap.welcome.once",
        ),
        (
            "welcome",
            {},
            [{"kind": "quota", "id": "all", "period": "day", "maximum": 9}],
            "has 'welcome/hello' counted by quota.all",
        ),
    ],
)
def test_what_would_have_to_be_counted_or_is_not_there_can_be_none(
    name: str, given: Mapping[str, Any], constraints: Any, why: str
) -> None:
    rest = {key: value for key, value in given.items() if key != "offers"}
    what = library(playbook("welcome", *given.get("offers", ["hello"]), **rest), constraints=constraints)
    found = fallback_in(what, name, "home")
    assert isinstance(found, str)
    assert why in found


def test_what_holds_for_others_or_stops_users_alone_is_not_asked() -> None:
    free = [
        {"id": "weekly", "limit": 1, "window": "P7D"},
        {"kind": "quota", "id": "some", "period": "day", "maximum": 9, "for": {"offers": ["coffee"]}},
        {"kind": "budget", "id": "money", "period": "day", "amount": "5.00 EUR"},
    ]
    what = library(playbook("welcome", audience="gold", priority=-9), constraints=free)
    assert fallen(snapshot(what)).arm == "welcome/hello"


def test_the_record_says_what_was_shown_and_replays() -> None:
    what = snapshot(library(playbook("welcome"), playbook("others", "coffee")))
    decision = fallen(what)
    assert (decision.playbook, decision.playbook_version, decision.arms) == ("welcome", 3, ["welcome/hello"])
    assert (decision.probabilities, decision.propensity, decision.scores) == ([1.0], 1.0, [])
    assert (decision.fallback, decision.suppressed) == ("unknown_user", {})
    assert decision.gives
    assert not decision.acts
    stored = msgspec.json.decode(msgspec.json.encode(decision), type=Decision)
    assert replay(stored, Even()) == stored
    for forged in ({"arms": ["others/coffee"]}, {"arms": [DO_NOTHING]}, {"playbook": None}, {"draw": 0.5}):
        changed = msgspec.structs.replace(stored, **forged)
        assert replay(changed, Even()) != changed


def test_without_a_name_or_where_its_playbook_is_paused_nothing_is_shown() -> None:
    others = library(playbook("others"))
    for one in (Snapshot(others, Even(), "seed"), snapshot(others)):
        decision = fallen(one)
        assert (decision.arm, decision.playbook, decision.suppressed) == (DO_NOTHING, None, {})
        assert replay(decision, Even()) == decision
    # Only what is tried out on some is served of it.
    (tried,) = library(playbook("welcome")).playbooks
    pilot = Trial("welcome@3", frozenset(["ann"]), None, 0.5)
    assert fallen(snapshot(Library((replace(tried, trial=pilot),)))).arm == DO_NOTHING


def test_it_is_what_the_swapped_library_and_controls_say() -> None:
    before = snapshot(library(playbook("welcome", "hello")))
    after = replace(before, library=library(playbook("welcome", "coffee")))
    assert [fallen(one).arm for one in (before, after)] == ["welcome/hello", "welcome/coffee"]
    for scope, target, rule in (
        (Scope.PLAYBOOK, "welcome", "control.playbook.welcome"),
        (Scope.EVERYTHING, "", "control.everything"),
        (Scope.USER, "ann", "control.user"),
    ):
        stop = Control(scope, target, Mode.PAUSE, "eve", "why", NOW)
        decision = fallen(replace(before, controls=Controls([stop])))
        assert (decision.arm, decision.suppressed) == (DO_NOTHING, {rule: ["welcome"]})
        assert replay(decision, Even()) == decision


def test_a_content_that_is_over_is_not_shown() -> None:
    what = snapshot(library(playbook("welcome")))
    assert fallen(what, at=NOW + timedelta(hours=23)).arm == "welcome/hello"
    over = fallen(what, at=NOW + timedelta(days=1))
    assert (over.arm, over.suppressed) == (DO_NOTHING, {"expired.notice": ["welcome"]})


def test_who_is_held_out_sees_no_promotion_also_as_a_fallback() -> None:
    users = [f"user-{number}" for number in range(40)]
    inside = {user for user in users if is_held_out(user, "seed", 0.3)}
    assert inside
    promotion = snapshot(library(playbook("welcome")), holdout=0.3)
    service = snapshot(library(playbook("welcome", purpose="service")), holdout=0.3)
    for user in users:
        decision = fallen(promotion, user)
        held = ["holdout"] if user in inside else []
        assert list(decision.holdout) == list(decision.suppressed) == held
        assert decision.gives == (user not in inside)
        assert fallen(service, user).gives
    own = snapshot(library(playbook("welcome", holdout=0.5)))
    assert {tuple(fallen(own, user).holdout) for user in users} == {(), ("holdout.welcome",)}
    # Whom an identity means, if several people have it, nobody knows; so they are in no holdout.
    assert fallen(snapshot(library(playbook("welcome")), holdout=0.999), "").gives


@pytest.mark.parametrize(("content", "why"), [("notice", ""), ("maybe", ""), ("named", "'named' can't be")])
def test_a_content_that_needs_to_know_the_user_says_nothing(content: str, why: str) -> None:
    found = fallback_in(library(playbook("welcome", content=content)), "welcome", "home")
    assert not isinstance(found, str)
    told = unfilled(found.playbook, found.arm)
    assert why in told if why else not told


def test_constraints_of_all_playbooks_are_those_that_are_served() -> None:
    one = library(playbook("welcome"))
    counted = replace(one, rules=Rulebook(library(constraints=[QUOTA]).rules.constraints, 2))
    assert fallen(snapshot(one)).gives
    assert not fallen(snapshot(counted)).gives


QUOTA = {"kind": "quota", "id": "all", "period": "day", "maximum": 9}
