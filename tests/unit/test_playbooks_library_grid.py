"""Variants become arms: names that stay, grids that are bounded."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from playbooks.library import MAX_ARMS, expand
from playbooks.library.grid import wrong_arms
from playbooks.models import Playbook
from playbooks.offers import Offer

OFFERS = {
    name: Offer(id=name, name=name, attributes={"group": "fruit", "category": name.upper()})
    for name in ("apple", "pear")
} | {
    "coffee": Offer(id="coffee", name="Coffee"),
    "coupon": Offer.model_validate(
        {
            "id": "coupon",
            "name": "Coupon",
            "kind": "fixed_amount",
            "value": "5.00 EUR",
            "ceiling": "10.00 EUR",
            "cost_model": {"redemption": 0.4},
        }
    ),
}


def playbook(*variants: dict[str, Any]) -> Playbook:
    return Playbook.model_validate(
        {
            "id": "p",
            "name": "P",
            "placement": "home",
            "goal": {"event": "order_completed", "window": "P14D"},
            "variants": list(variants),
            "flow": {"start": "x", "states": {"x": {"kind": "end", "result": "r"}}},
        }
    )


@pytest.mark.parametrize(
    ("variants", "names"),
    [
        ({"group": "fruit", "channel": "sms", "content": "notice"}, ["apple", "pear"]),
        ({"offer": "coffee", "channel": "sms", "content": "notice"}, ["coffee"]),
        ({"id": "cup", "offer": "coffee", "channel": "sms", "content": "notice"}, ["cup"]),
        (
            {"id": "x", "offers": ["apple", "coffee"], "channel": "sms", "content": "n"},
            ["x_apple", "x_coffee"],
        ),
        (
            {"id": "cup", "offer": "coffee", "channels": ["sms", "push"], "contents": ["long", "short"]},
            ["cup_sms_long", "cup_sms_short", "cup_push_long", "cup_push_short"],
        ),
        ({"offer": "coffee", "channels": ["sms"], "content": "n"}, ["coffee_sms"]),
        ({"id": "ten", "offer": "coupon", "value": "8.00 EUR", "channel": "sms", "content": "n"}, ["ten"]),
        (
            {"offer": "coupon", "values": ["3.00 EUR", "5.50 EUR"], "channels": ["sms"], "content": "n"},
            ["coupon_3_00_sms", "coupon_5_50_sms"],
        ),
    ],
)
def test_names_of_arms(variants: dict[str, Any], names: list[str]) -> None:
    arms = expand(playbook(variants), OFFERS)
    assert [arm.id for arm in arms] == [f"p/{name}" for name in names]
    assert [arm.name for arm in arms] == names


def test_an_arm_tells_the_value_model_its_channel_content_and_kind() -> None:
    [apple, _] = expand(playbook({"group": "fruit", "channel": "sms", "content": "notice"}), OFFERS)
    assert apple.attributes == {
        "group": "fruit",
        "category": "APPLE",
        "kind": "content_only",
        "channel": "sms",
        "content": "notice",
    }


def test_too_many_arms_are_refused_with_advice() -> None:
    many = {
        "offer": "coffee",
        "channels": [f"c{n}" for n in range(9)],
        "contents": [f"n{n}" for n in range(8)],
    }
    [(field, said)] = wrong_arms(playbook(many), OFFERS)
    assert field == "variants"
    assert f"72 arms, at most {MAX_ARMS}" in said
    assert "variants.0 has 72" in said
    assert "split the playbook" in said


def test_each_value_has_its_cost_and_an_offer_of_its_own() -> None:
    values = {"offer": "coupon", "values": ["3.00 EUR", "8.00 EUR"], "channel": "sms", "content": "n"}
    small, large = expand(playbook(values), OFFERS)
    assert (small.value, small.cost, small.liability, small.currency) == (300, 120, 300, "EUR")
    assert (large.value, large.cost, large.offer) == (800, 320, "coupon_8_00")
    assert large.attributes["value"] == "800"


@pytest.mark.parametrize(
    ("offer", "values", "what"),
    [
        ("coffee", ["3.00 EUR"], "is of the kind content_only; values are for fixed amounts"),
        ("coupon", ["12.00 EUR"], "12.00 EUR: "),
        ("coupon", ["3.00 USD"], "3.00 USD: "),
        ("scarce", ["3.00 EUR"], "has a stock, a maximum liability or a stated cost"),
    ],
)
def test_values_that_an_offer_does_not_take(offer: str, values: list[str], what: str) -> None:
    scarce = OFFERS["coupon"].model_copy(update={"id": "scarce", "stock": 10})
    variants = {"offer": offer, "values": values, "channel": "sms", "content": "n"}
    field, said = next(iter(wrong_arms(playbook(variants), {**OFFERS, "scarce": scarce})))
    assert field == "variants.0.values"
    assert what in said


def test_names_that_two_arms_would_share_are_refused() -> None:
    twice = [{"offer": "coffee", "channel": channel, "content": "notice"} for channel in ("sms", "push")]
    [(_, said)] = wrong_arms(playbook(*twice), OFFERS)
    assert "2 arms are named 'coffee': give one of the variant sets an `id`" in said
    assert not list(wrong_arms(playbook(twice[0], {"id": "second", **twice[1]}), OFFERS))


@pytest.mark.parametrize(
    ("variants", "what"),
    [
        ({"group": "fruit", "offer": "coffee", "channel": "sms", "content": "n"}, "not group and offer"),
        ({"channel": "sms", "content": "n"}, "just one of group, offer, offers is to be given"),
        ({"offer": "coffee", "content": "n"}, "just one of channel, channels"),
        ({"offer": "coffee", "channels": ["a", "a"], "content": "n"}, "channels lists a more than once"),
        ({"offer": "coffee", "channels": [], "content": "n"}, "at least 1 item"),
        ({"group": "fruit", "value": "1.00 EUR", "channel": "sms", "content": "n"}, "given to one `offer`"),
        ({"offer": "coffee", "value": "-1.00 EUR", "channel": "sms", "content": "n"}, "must not be negative"),
        ({"offer": "coffee", "value": "1.001 EUR", "channel": "sms", "content": "n"}, "3 decimals"),
    ],
)
def test_what_a_set_says_twice_or_not_at_all(variants: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        playbook(variants)
