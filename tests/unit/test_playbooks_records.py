"""Records of decisions stay what they are, to the last digit: a library with every kind of constraint.

`tests/golden/decisions.json` holds what was recorded before deciding was made faster. Whoever means to change
what is recorded writes it anew (`python -m tests.unit.test_playbooks_records`) and says so in the changelog.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import TypeAdapter

from audiences.consent.models import Channel, Consent, ConsentState
from audiences.rules import Schema, Type
from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.counting import UNREADABLE, Uses
from playbooks.constraints.documents import Constraint
from playbooks.constraints.rulebook import Rulebook
from playbooks.content.documents import Content
from playbooks.controls.models import Control, Controls, Mode, Scope
from playbooks.decision import Decision
from playbooks.eligible import needs_at
from playbooks.guards import LoyalGuard
from playbooks.library import Library, PublishedPlaybook, expand
from playbooks.library.trials import Trial
from playbooks.matching import Request, Snapshot, decide, replay
from playbooks.models import Arm, Playbook
from playbooks.offers import Offer
from playbooks.policy import FloatArray, Stakes
from storage.times import to_micros

GOLDEN = Path(__file__).parents[1] / "golden" / "decisions.json"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
AUDIENCES = ("gold", "new", "tea_lovers")
OFFERS = {
    str(one["id"]): Offer.model_validate(one)
    for one in (
        {"id": "tea", "name": "Tea", "attributes": {"category": "tea"}},
        {"id": "milk", "name": "Milk", "stock": 9, "attributes": {"category": "milk"}},
        {"id": "coupon", "name": "C", "kind": "fixed_amount", "value": "5.00 EUR"},
        {
            "id": "big",
            "name": "B",
            "kind": "fixed_amount",
            "value": "9.00 EUR",
            "maximum_liability": "90.00 EUR",
        },
    )
}
CONSTRAINTS: TypeAdapter[list[Constraint]] = TypeAdapter(list[Constraint])
HOUSE: list[dict[str, Any]] = [
    {"kind": "cap", "id": "all", "limit": 4, "window": "P7D"},
    {"kind": "cap", "id": "daily", "limit": 2, "window": "day", "each": "channel"},
    {"kind": "cap", "id": "firm", "limit": 3, "window": "month", "per": "account"},
    {"kind": "cool_down", "id": "rest", "after": "contact", "lasts": "PT2H", "for": {"channels": ["sms"]}},
    {"kind": "cool_down", "id": "bought", "after": "conversion", "lasts": "P1D", "for": {"labels": ["sale"]}},
    {"kind": "group", "id": "sales", "labels": ["sale"], "window": "P2D"},
    {"kind": "eligibility", "id": "known", "rule": "orders >= 0 OR tag('guest')",
     "for": {"channels": ["sms"]}},
    {"kind": "suitability", "id": "awake", "rule": "context.hour BETWEEN 8 AND 20",
     "exempt": {"labels": ["night"]}},
    {"kind": "consent", "id": "asked", "exempt": {"purposes": ["transactional"]}},
    {"kind": "hold", "id": "case", "opened_by": "case_opened", "closed_by": "case_closed"},
    {"kind": "budget", "id": "money", "amount": "400.00 EUR", "period": "month", "for": {"labels": ["paid"]}},
    {"kind": "liability", "id": "owed", "amount": "300.00 EUR", "for": {"offers": ["big"]}},
    {"kind": "fatigue", "id": "tired", "cost": "0.40 EUR", "half_life": "P1D", "for": {"channels": ["sms"]}},
]  # fmt: skip
PLAYBOOKS: list[dict[str, Any]] = [
    {"id": "plain"},
    {"id": "sale_a", "labels": ["sale"], "weight": 1.5},
    {"id": "sale_b", "labels": ["sale", "paid"], "holdout": 0.3},
    {"id": "gold", "audience": "gold", "labels": ["paid"]},
    {
        "id": "fresh",
        "audience": "new",
        "rules": {"eligibility": "orders < 3", "suitability": "city = 'Rome'"},
    },
    {"id": "lovers", "audience": "tea_lovers", "rules": {"applicability": "tag('vip')"}},
    {"id": "each", "constraints": [{"id": "of", "limit": 1, "window": "P7D", "each": "offer"}]},
    {"id": "again", "constraints": [{"kind": "cool_down", "id": "own", "after": "playbook", "lasts": "P3D"}]},
    {
        "id": "quota",
        "constraints": [{"kind": "quota", "id": "q", "period": "day", "minimum": 3, "maximum": 8}],
    },
    {"id": "daily", "exploration_budget": {"amount": "0.05 EUR"}, "labels": ["night"]},
    {"id": "urgent", "priority": 3, "rules": {"eligibility": "orders > 8"}, "holdout": 0.4},
    {"id": "receipt", "purpose": "transactional"},
    {"id": "one", "exclusive_group": "slot"},
    {"id": "two", "exclusive_group": "slot"},
    {"id": "tried", "labels": ["trial"]},
    {"id": "stopped"},
    {"id": "elsewhere", "placement": "cart"},
]


class Plain:
    """A policy of plain arithmetic, the same on every machine; uncertain, so that deviations are recorded."""

    version = "plain@1"
    inputs = frozenset({"orders", "likes"})

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        orders = features["orders"] or 0
        likes = [0.0 if one is None or np.isnan(one) else one for one in features["likes"] or [None] * 2]
        liked = dict(zip(("tea", "milk"), likes, strict=True))
        return np.array(
            [
                2.0 + 0.125 * len(arm.id) + liked.get(arm.attributes.get("category", ""), 0.5) - orders / 16
                for arm in arms
            ]
        )

    def deviations(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray | None:
        return np.array([0.25 * (place % 3) for place in range(len(arms))])

    def explore(self, stakes: Stakes) -> FloatArray:
        vector = np.full(len(stakes.values), 0.25 / len(stakes.values))
        if stakes.narrowed:
            vector[list(stakes.narrowed)] /= 2
        vector[int(stakes.values.argmax())] += 1 - vector.sum()
        return vector


def playbook(given: Mapping[str, Any]) -> PublishedPlaybook:
    document = Playbook.model_validate(
        {
            "name": given["id"],
            "placement": "home",
            "goal": {"event": "order_completed", "window": "P14D"},
            "variants": [
                {"offer": "tea", "channels": ["email", "sms"], "content": "hello"},
                {"offers": ["milk", "big"], "channel": "mailbox", "content": "hello"},
                {"offer": "coupon", "values": ["3.00 EUR"], "channel": "email", "content": "over"},
            ],
            "flow": {"start": "x", "states": {"x": {"kind": "end", "result": "r"}}},
            **given,
        }
    )
    contents = {
        "hello": Content(id="hello", subject="s", body="b"),
        "over": Content.model_validate(
            {"id": "over", "subject": "s", "body": "b", "valid_until": "2026-03-03T06:00:00Z"}
        ),
    }
    trial = Trial("salt", frozenset({"user-1"}), None, 0.5) if given["id"] == "tried" else None
    return PublishedPlaybook(document, 2, expand(document, OFFERS), OFFERS, contents, trial)


def snapshot() -> Snapshot:
    names = {"orders": Type.NUMBER, "city": Type.TEXT}
    rules = Rulebook(CONSTRAINTS.validate_python(HOUSE), 4, Schema(names, True, frozenset(AUDIENCES)))
    stopped = Control(Scope.PLAYBOOK, "stopped", Mode.PAUSE, "me", "a test", NOW)
    playbooks = sorted((playbook(one) for one in PLAYBOOKS), key=lambda one: one.id)
    return Snapshot(
        Library(tuple(playbooks), rules=rules),
        Plain(),
        "seed",
        holdout=0.1,
        controls=Controls([stopped]),
        guards=[LoyalGuard(loyal="gold", newer="new")],
        costs={"EUR": 0.01},
    )


def decided(what: Snapshot, number: int) -> Decision:
    """One of many moments, each of another user."""
    chance = random.Random(number)
    user, now = f"user-{number}", NOW + timedelta(minutes=chance.randrange(24 * 60))
    audiences = frozenset(name for name in AUDIENCES if chance.random() < 0.4)
    likes = np.array([chance.random() / 3, chance.choice([np.nan, 0.0, chance.random() * 1e-7])], np.float32)
    features = {
        "orders": chance.choice([None, 0, 2, 9]),
        "city": chance.choice([None, "Rome"]),
        "likes": chance.choice([likes, likes, None]),
    }
    needs = needs_at(what.library, "home", audiences, now)
    account = chance.choice([None, "acme"])
    circumstances = Circumstances(
        uses=UNREADABLE if chance.random() < 0.05 else uses_of(chance, now, account),
        zone=chance.choice(["UTC", "Asia/Tokyo"]),
        account=account,
        tags=frozenset(tag for tag in ("guest", "vip") if chance.random() < 0.4),
        consents=[
            Consent(user, purpose, channel, chance.choice(list(ConsentState)), NOW, "page")
            for purpose, channel in (("promotional", Channel.EMAIL), ("any", Channel.SMS))
            if chance.random() < 0.95
        ],
        events={
            name: now - timedelta(hours=chance.randrange(1, 60))
            for name in ("order_completed", "case_opened", "case_closed", "never_asked")
            if chance.random() < 0.2
        },
        levels={
            one.key: chance.choice([0, 5, 5, 6, 8, 39_000, 40_000])
            for one in sorted(needs.budgets, key=lambda budget: budget.key)
        },
    )
    request = Request(f"id-{number}", user, "home", f"key-{number}", test=number % 10 == 0)
    return decide(what, request, features=features, audiences=audiences, circumstances=circumstances, now=now)


def uses_of(chance: random.Random, now: datetime, account: str | None) -> Uses:
    rules = [
        "cap.all",
        "cap.daily@email",
        "cap.daily@sms",
        "cool_down.rest",
        "group.sales",
        "fatigue.tired",
        "cap.each.of@tea",
        "cap.each.of@milk",
        "cool_down.again.own@again",
        *(["cap.firm"] if account else []),
    ]
    return {
        rule: sorted(
            to_micros(now - timedelta(hours=chance.randrange(1, 200))) for _ in range(chance.randrange(1, 5))
        )
        for rule in rules
        if chance.random() < 0.3
    }


def records() -> list[Decision]:
    what = snapshot()
    return [decided(what, number) for number in range(70)]


def test_records_are_what_they_were() -> None:
    golden = GOLDEN.read_bytes().splitlines()
    made = records()
    assert len(made) == len(golden)
    for now, then in zip(made, golden, strict=True):
        assert msgspec.json.decode(msgspec.json.encode(now)) == msgspec.json.decode(then)
        # In the same order too: of two rules the one that stopped first is told first.
        assert msgspec.json.encode(now) == then


def test_what_was_recorded_is_replayed() -> None:
    for line in GOLDEN.read_bytes().splitlines():
        record = msgspec.json.decode(line, type=Decision)
        assert replay(record, Plain()) == record


@pytest.mark.parametrize(
    "what",
    ["cap", "cool_down", "group", "eligibility", "applicability", "suitability", "consent", "hold", "quota",
     "budget", "liability", "stock", "guard", "pilot", "control", "expired", "holdout", "priority",
     "counters_unreachable"],
)  # fmt: skip
def test_every_kind_of_rule_is_among_them(what: str) -> None:
    lines = [msgspec.json.decode(line, type=Decision) for line in GOLDEN.read_bytes().splitlines()]
    assert any(rule.partition(".")[0] == what for one in lines for rule in one.suppressed)


if __name__ == "__main__":
    GOLDEN.write_bytes(b"\n".join(map(msgspec.json.encode, records())) + b"\n")
