"""Lint: each code is found where it should be and only there, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from audiences.definitions import AudienceSpec, define
from audiences.rules import Rule, Schema, Type
from feature_repo.specs import load_specs
from playbooks.constraints.documents import Cap, Constraint
from playbooks.content.documents import Content, Wording
from playbooks.goals import know_events
from playbooks.library import Draft
from playbooks.lint import CODES, Events, Finding, Severity, Subject, lint
from playbooks.models import Playbook
from playbooks.offers import Offer

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SCHEMA = Schema({"orders": Type.NUMBER, "city": Type.TEXT}, tags=True, audiences=False)
FLOW: dict[str, Any] = {
    "start": "tell",
    "states": {
        "tell": {"kind": "send", "next": "wait"},
        "wait": {
            "kind": "wait_for_event",
            "event": "order",
            "timeout": "P14D",
            "on_event": "used",
            "on_timeout": "over",
        },
        "used": {"kind": "end", "result": "used"},
        "over": {"kind": "end", "result": "expired"},
    },
}


@pytest.fixture(autouse=True)
def events() -> Iterator[None]:
    know_events({"order": {"value": "float", "category": "text"}})
    yield
    know_events(load_specs().events.events)


def playbook(name: str = "plan", **fields: Any) -> Playbook:
    return Playbook.model_validate(
        {
            "id": name,
            "name": name,
            "placement": "outbound",
            "goal": {"event": "order", "window": "P14D"},
            "variants": [{"offer": "coffee", "channel": "mailbox", "content": "hello"}],
            "flow": FLOW,
            **fields,
        }
    )


def subject(*playbooks: Playbook, audiences: dict[str, str] | None = None, **fields: Any) -> Subject:
    specs = [AudienceSpec(id=name, name=name, rule=rule) for name, rule in (audiences or {}).items()]
    definitions, problems = define(specs, (), SCHEMA)
    assert not problems
    draft = Draft(
        playbooks or (playbook(),),
        {"coffee": Offer(id="coffee", name="Coffee", attributes={"category": "COFFEE"})},
        {"hello": Content(id="hello", subject="Hello {{ user_id }}", body="{{ offer.name }} for you")},
    )
    given = {"events": Events(frozenset({"order"}), True), **fields}
    return Subject(draft, definitions, SCHEMA, NOW, **given)


def only(found: list[Finding], code: str) -> Finding:
    assert [one.code for one in found] == [code], found
    assert found[0].advice
    return found[0]


class Live:
    """Users as a test says they are."""

    def __init__(self, sizes: dict[str, int], matching: int = 1, *, within: bool = False) -> None:
        self.sizes, self.matching, self.inside = sizes, matching, within

    def size(self, audience: str) -> int | None:
        return self.sizes.get(audience)

    def selected(self, rule: Rule) -> int | None:
        return self.matching

    def within(self, one: str, other: str) -> bool | None:
        return self.inside


def test_a_sound_library_has_no_findings() -> None:
    assert lint(subject()) == []


def test_unknown_trigger() -> None:
    found = lint(subject(playbook(trigger="gone"), triggers=frozenset({"gone_by"})))
    one = only(found, "unknown-trigger")
    assert (one.severity, one.place) == (Severity.ERROR, "playbooks/plan: trigger")
    assert "did you mean 'gone_by'?" in one.message
    assert lint(subject(playbook(trigger="gone"), triggers=frozenset({"gone"}))) == []


@pytest.mark.parametrize(
    ("audience", "rules", "place"),
    [
        ("orders > 3 AND orders < 2", {}, "audiences/some: rule"),
        ("orders > 3", {"eligibility": "city = 'A' AND city = 'B'"}, "playbooks/plan: rules.eligibility"),
        ("orders > 3", {"suitability": "orders IS NULL"}, "playbooks/plan: rules"),
        ("orders > 3", {"eligibility": "city = 'A'", "applicability": "city = 'B'"}, "playbooks/plan: rules"),
    ],
)
def test_contradictions(audience: str, rules: dict[str, str], place: str) -> None:
    found = lint(subject(playbook(audience="some", rules=rules), audiences={"some": audience}))
    assert only(found, "contradiction").place == place


def test_nobody_is_there_now() -> None:
    one = playbook(audience="some", rules={"eligibility": "city = 'A'"})
    live = subject(one, audiences={"some": "orders > 3"}, users=Live({"some": 0}, 0))
    assert [(f.code, f.place) for f in lint(live)] == [
        ("nobody", "audiences/some"),
        ("nobody", "playbooks/plan: rules.eligibility"),
    ]
    assert lint(replace(live, users=Live({"some": 5}, 3))) == []
    # Where nobody can say, nothing is said.
    assert lint(replace(live, users=None)) == []


def test_contents_whose_time_is_over_and_languages_they_lack() -> None:
    base = subject()

    def told(languages: list[str], **ends: datetime) -> list[str]:
        foot = Content(id="foot", kind="block", body="Bye", valid_until=ends.get("foot"))
        hello = Content(
            id="hello",
            subject="Hi",
            body="{% render 'foot' %}",
            language="en",
            valid_until=ends.get("hello"),
            texts=[Wording(language="pt", body="Oi")],
        )
        plans = (playbook(languages=languages),)
        found = lint(
            replace(base, draft=replace(base.draft, playbooks=plans, contents={"hello": hello, "foot": foot}))
        )
        return [f"{one.code}: {one.message}" for one in found]

    assert told(["en", "pt-BR"], hello=NOW + timedelta(days=15)) == []
    assert told(["de", "en"]) == ["language-missing: the content 'hello' has no text in de"]
    assert told([], hello=NOW + timedelta(days=2)) == [
        "content-expires: the content 'hello' is over on 2026-03-04 09:00 UTC"
    ]
    assert told([], foot=NOW) == ["content-expired: the content 'hello' was over on 2026-03-02 09:00 UTC"]


def test_a_code_is_there_once_a_coupon_was_issued() -> None:
    base = subject()
    code = Content(id="hello", subject="Hi", body="{{ coupon.code }}")
    told = replace(base, draft=replace(base.draft, contents={"hello": code}))
    assert "issue the offer in the flow" in only(lint(told), "unfilled-variable").advice
    issuing = {
        **FLOW,
        "start": "give",
        "states": {**FLOW["states"], "give": {"kind": "issue", "next": "tell"}},
    }
    gives = replace(
        base, draft=replace(base.draft, playbooks=(playbook(flow=issuing),), contents={"hello": code})
    )
    assert lint(gives) == []


def test_a_variable_that_nothing_fills() -> None:
    base = subject()
    wrong = Content(id="hello", subject="{{ offer.price }}", body="{{ first_name }} {{ arm.category }}")
    found = lint(replace(base, draft=replace(base.draft, contents={"hello": wrong})))
    assert [one.code for one in found] == ["unfilled-variable"] * 2
    assert "speaks of first_name" in found[0].message
    assert "speaks of offer.price" in found[1].message


def test_a_goal_that_nothing_emits() -> None:
    one = playbook(goal={"event": "ordr", "window": "P1D"})
    assert only(lint(subject(one)), "goal-never-emitted").place == "playbooks/plan: goal.event"
    # Without a plan that takes no others, and without a look at the ledger, it may come.
    assert lint(subject(one, events=Events(frozenset({"order"})))) == []
    seen = Events(frozenset({"order"}), seen=frozenset({"ordr"}))
    assert lint(subject(one, events=seen)) == []
    unseen = Events(frozenset({"order"}), seen=frozenset())
    assert only(lint(subject(one, events=unseen)), "goal-never-emitted")


def test_a_goal_that_no_event_reaches() -> None:
    one = playbook(goal={"event": "order", "window": "P1D", "where": "arm.category = 'TEA'"})
    found = only(lint(subject(one)), "goal-never-reached")
    assert (found.severity, found.place) == (Severity.ERROR, "playbooks/plan: goal.where")
    one = playbook(goal={"event": "order", "window": "P1D", "where": "event.category = arm.category"})
    assert lint(subject(one)) == []


def test_states_that_nobody_comes_to() -> None:
    flow = {**FLOW, "states": {**FLOW["states"], "wait": {**FLOW["states"]["wait"], "event": "parcel"}}}
    found = lint(subject(playbook(flow=flow)))
    assert [(one.code, one.field) for one in found] == [
        ("dead-state", "flow.states.used"),
        ("event-never-emitted", "flow.states.wait.event"),
    ]
    wait = {**FLOW["states"]["wait"], "where": "event.value > 10 AND event.value < 5"}
    found = lint(subject(playbook(flow={**FLOW, "states": {**FLOW["states"], "wait": wait}})))
    assert [(one.code, one.field) for one in found] == [
        ("dead-state", "flow.states.used"),
        ("event-never-emitted", "flow.states.wait.where"),
    ]


def test_variants_that_are_there_for_nothing() -> None:
    twins = [
        {"offer": "coffee", "channel": "mailbox", "content": "hello"},
        {"id": "again", "offer": "coffee", "channel": "mailbox", "content": "hello"},
    ]
    assert "coffee, again" in only(lint(subject(playbook(variants=twins))), "twin-variants").message
    assert only(lint(subject(playbook(weight=0))), "unreachable-variant").field == "weight"


def test_variants_that_a_limit_makes_impossible() -> None:
    dear = Offer.model_validate({"id": "dear", "name": "D", "kind": "fixed_amount", "value": "8.00 EUR"})
    variants = [
        {"offer": "coffee", "channel": "mailbox", "content": "hello"},
        {"offer": "dear", "channel": "mailbox", "content": "hello"},
    ]
    budget = {"kind": "budget", "id": "day", "amount": "7.99 EUR", "period": "day"}
    looked = subject(playbook(variants=variants))

    def found(**fields: Any) -> list[Finding]:
        offers = {**looked.draft.offers, "dear": dear}
        return lint(replace(looked, draft=replace(looked.draft, **{"offers": offers, **fields})))

    assert found() == []
    of_all = TypeAdapter(list[Constraint]).validate_python([budget])
    said = only(found(constraints=tuple(of_all)), "unreachable-variant")
    assert "dear: one use takes more than budget.day has in all" in said.message
    own = only(found(playbooks=(playbook(variants=variants, constraints=[budget]),)), "unreachable-variant")
    assert "budget.plan.day" in own.message
    sold_out = {**looked.draft.offers, "dear": dear.model_copy(update={"stock": 0})}
    assert "stock.dear" in only(found(offers=sold_out), "unreachable-variant").message


def test_what_a_rule_for_all_may_stop_outranks_nobody() -> None:
    low, top = playbook("low", audience="many", priority=1), playbook("top", priority=9)
    both = subject(low, top, audiences={"many": "orders > 10"})
    only(lint(both), "always-outranked")
    cap = Cap(id="weekly", limit=1, window="week")
    assert lint(replace(both, draft=replace(both.draft, constraints=(cap,)))) == []


def test_one_playbook_is_always_outranked() -> None:
    low = playbook("low", audience="many", priority=1)
    audiences = {"many": "orders > 10", "some": "orders > 3", "other": "city = 'A'"}
    for rival, why in (
        (playbook("top", priority=9), "everybody is in 'top'"),
        (playbook("top", priority=9, audience="many"), "the same users are in 'top'"),
        (playbook("top", priority=9, audience="some"), "by their rules all its users are also in 'top'"),
    ):
        found = only(lint(subject(low, rival, audiences=audiences)), "always-outranked")
        assert found.place == "playbooks/low: priority"
        assert why in found.message
    for rival in (
        playbook("top", priority=1),
        playbook("top", priority=9, placement="elsewhere"),
        playbook("top", priority=9, trigger="t"),
        playbook("top", priority=9, audience="other"),
        playbook("top", priority=9, constraints=[{"id": "one", "limit": 1, "window": "P7D"}]),
    ):
        assert lint(subject(low, rival, audiences=audiences, triggers=frozenset({"t"}))) == []


def test_one_playbook_is_outranked_as_users_are_now() -> None:
    low = playbook("low", audience="many", priority=1)
    top = playbook("top", audience="other", priority=9)
    both = subject(low, top, audiences={"many": "orders > 10", "other": "city = 'A'"})
    users = Live({"many": 5, "other": 9}, within=True)
    assert "all its users of now" in only(lint(replace(both, users=users)), "always-outranked").message
    assert lint(replace(both, users=Live({"many": 5, "other": 9}))) == []


def test_two_of_one_group_for_the_same_users() -> None:
    one, other = (playbook(name, audience="many", exclusive_group="g") for name in ("one", "other"))
    assert only(lint(subject(one, other, audiences={"many": "orders > 10"})), "always-excluded")


def test_what_nobody_uses() -> None:
    base = subject()
    offers = {**base.draft.offers, "tea": Offer(id="tea", name="Tea")}
    contents = {**base.draft.contents, "bye": Content(id="bye", subject="Bye", body="Bye")}
    found = lint(replace(base, draft=replace(base.draft, offers=offers, contents=contents)))
    assert [(one.code, one.place) for one in found] == [
        ("unused-content", "contents/bye"),
        ("unused-offer", "offers/tea"),
    ]


def test_the_reference_has_every_code() -> None:
    rows = [
        f"| `{code.name}` | {code.severity.value} | {code.meaning} |"
        for code in sorted(CODES, key=lambda one: one.name)
    ]
    text = Path("docs/reference/lint.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("| `")] == rows
    assert len({code.name for code in CODES}) == len(CODES)


def test_a_fallback_is_shown_without_asking_and_need_not_win() -> None:
    asked = playbook(id="asked", rules={"eligibility": "orders > 1"})
    quiet = playbook(id="quiet", weight=0)
    below = playbook(id="below", priority=-9)
    named = {"home": "asked", "shelf": "quiet/coffee", "end": "below", "else": "gone"}
    found = only(lint(subject(asked, quiet, below, fallbacks=named)), "fallback-unasked")
    assert (found.playbook, "eligibility.asked is one to be asked" in found.message) == ("asked", True)
    codes = {one.code for one in lint(subject(asked, quiet, below))}
    assert codes == {"always-outranked", "unreachable-variant"}
