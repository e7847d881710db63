"""Offers: every kind, what it costs, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from playbooks.money import Money, parse
from playbooks.offers import (
    Offer,
    Terms,
    combine,
    cost_of,
    liability_of,
    mixed_currencies,
    terms_of,
    worth_of,
)

KINDS: dict[str, dict[str, Any]] = {
    "content_only": {},
    "fixed_amount": {"value": "5.00 EUR"},
    "percentage": {"percent": 12.5, "ceiling": "15.00 EUR"},
    "free_shipping": {"cost": "4.90 EUR"},
    "gift": {"item": "a mug", "cost": "3.00 EUR"},
    "points": {"points": 250, "cost_per_1000_points": "5.00 EUR"},
}
LIABILITIES = {
    "fixed_amount": "5.00 EUR",
    "percentage": "15.00 EUR",
    "free_shipping": "4.90 EUR",
    "gift": "3.00 EUR",
    "points": "1.25 EUR",
}


def offer(kind: str, **fields: Any) -> Offer:
    return Offer.model_validate({"id": kind, "name": kind, "kind": kind, **KINDS[kind], **fields})


def problems(**fields: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Offer.model_validate({"id": "x", "name": "x", **fields})
    return {".".join(map(str, one["loc"])): one["msg"] for one in caught.value.errors()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_offer_is_read_again(kind: str) -> None:
    one = offer(kind, minimum_spend="40.00 EUR" if kind != "content_only" else None, stock=100)
    assert Offer.model_validate_json(one.model_dump_json()) == one
    assert Offer.model_validate(one.model_dump(mode="json")) == one


@pytest.mark.parametrize(("kind", "liability"), LIABILITIES.items())
def test_liability_is_the_worst_case_and_cost_the_share_that_is_redeemed(kind: str, liability: str) -> None:
    one = offer(kind, cost_model={"redemption": 0.1})
    assert liability_of(one) == parse(liability)
    assert cost_of(offer(kind)) == liability_of(one)
    cost = cost_of(one)
    assert cost is not None
    assert cost.amount == -(-parse(liability).amount // 10)
    assert cost_of(offer(kind, cost_model={"stated": "1.00 EUR"})) == parse("1.00 EUR")


def test_content_costs_nothing() -> None:
    one = offer("content_only")
    assert (cost_of(one), liability_of(one)) == (None, None)
    assert worth_of(one).currency == ""
    assert terms_of(one) == Terms(validity={"for": "P14D"})


@pytest.mark.parametrize(
    ("percent", "basket", "redemption", "cost"),
    [
        (10, "60.00 EUR", 0.3, "1.80 EUR"),
        (10, "600.00 EUR", 0.3, "4.50 EUR"),  # the ceiling
        (10, "60.01 EUR", 1, "6.01 EUR"),  # rounded up
        (100, "1.00 EUR", 1, "1.00 EUR"),
        (0.01, "1.00 EUR", 0.1, "0.01 EUR"),
    ],
)
def test_a_percentage_costs_what_the_expected_basket_is_worth(
    percent: float, basket: str, redemption: float, cost: str
) -> None:
    one = offer("percentage", percent=percent, cost_model={"basket": basket, "redemption": redemption})
    assert cost_of(one) == parse(cost)


@given(
    value=st.integers(1, 10**12),
    percent=st.integers(1, 10_000).map(lambda hundredths: hundredths / 100),
    basket=st.integers(0, 10**12),
    redemption=st.floats(0.0001, 1),
)
def test_the_expected_cost_is_never_above_the_worst_case(
    value: int, percent: float, basket: int, redemption: float
) -> None:
    for one in (
        offer(
            "percentage",
            percent=percent,
            ceiling=Money(value, "JPY"),
            cost_model={"basket": Money(basket, "JPY"), "redemption": redemption},
        ),
        offer("fixed_amount", value=Money(value, "JPY"), cost_model={"redemption": redemption}),
    ):
        worth = worth_of(one)
        assert 0 <= worth.cost <= worth.liability == value


@pytest.mark.parametrize(
    ("fields", "place", "problem"),
    [
        ({"kind": "percentage", "percent": 101, "ceiling": "1 EUR"}, "percent", "less than or equal to 100"),
        ({"kind": "percentage", "percent": 0, "ceiling": "1 EUR"}, "percent", "greater than 0"),
        ({"kind": "percentage", "percent": float("nan"), "ceiling": "1 EUR"}, "percent", "Input should be"),
        ({"kind": "percentage", "percent": 33.333, "ceiling": "1 EUR"}, "percent", "more than two decimals"),
        ({"kind": "percentage", "percent": 10}, "ceiling", "of the kind percentage needs ceiling"),
        ({"kind": "fixed_amount"}, "value", "of the kind fixed_amount needs value"),
        ({"kind": "fixed_amount", "value": "-5.00 EUR"}, "value", "must not be negative"),
        ({"kind": "fixed_amount", "value": "0 EUR"}, "value", "is nothing"),
        ({"kind": "fixed_amount", "value": "5.00"}, "value", "write an amount and its currency"),
        ({"kind": "fixed_amount", "value": 5}, "value", "money is text with its currency"),
        ({"kind": "fixed_amount", "value": "99999999999.00 EUR"}, "value", "absurd"),
        (
            {"kind": "fixed_amount", "value": "5.00 EUR", "percent": 5},
            "percent",
            "an offer of the kind fixed_amount has no percent; it takes ceiling, value",
        ),
        ({"value": "5.00 EUR"}, "value", "of the kind content_only has no value"),
        ({"minimum_spend": "5.00 EUR"}, "", "costs nothing, it takes no minimum_spend"),
        ({"kind": "gift", "cost": "1 EUR"}, "item", "needs item"),
        (
            {"kind": "points", "points": 0, "cost_per_1000_points": "1 EUR"},
            "points",
            "greater than or equal",
        ),
        (
            {"kind": "fixed_amount", "value": "5.00 EUR", "ceiling": "3.00 EUR"},
            "",
            "the value 5.00 EUR is above the ceiling 3.00 EUR",
        ),
        (
            {"kind": "fixed_amount", "value": "5.00 EUR", "minimum_spend": "40.00 USD"},
            "",
            "mixes currencies (value 5.00 EUR, minimum_spend 40.00 USD)",
        ),
        (
            {"kind": "fixed_amount", "value": "5.00 EUR", "maximum_liability": "4.00 EUR"},
            "",
            "one coupon may cost 5.00 EUR, which is above the maximum_liability 4.00 EUR",
        ),
        (
            {"kind": "fixed_amount", "value": "5.00 EUR", "cost_model": {"stated": "6.00 EUR"}},
            "",
            "cost_model.stated 6.00 EUR is above what one coupon may cost",
        ),
        (
            {"kind": "fixed_amount", "value": "5.00 EUR", "cost_model": {"basket": "6.00 EUR"}},
            "",
            "cost_model.basket is for percentages",
        ),
        (
            {
                "kind": "percentage",
                "percent": 10,
                "ceiling": "5.00 EUR",
                "minimum_spend": "40.00 EUR",
                "cost_model": {"basket": "30.00 EUR"},
            },
            "",
            "cost_model.basket 30.00 EUR is below the minimum_spend 40.00 EUR",
        ),
        ({"kind": "loan"}, "kind", "Input should be 'content_only', 'fixed_amount'"),
        ({"stock": -1}, "stock", "greater than or equal to 0"),
        ({"cost_model": {"redemption": 1.2}}, "cost_model.redemption", "less than or equal to 1"),
    ],
)
def test_what_is_wrong_has_its_place_and_says_why(fields: dict[str, Any], place: str, problem: str) -> None:
    found = problems(**fields)
    assert problem in found[place]


def test_coupons_are_combined_only_if_both_allow_it() -> None:
    basket = terms_of(offer("fixed_amount", stacking={"group": "basket", "with": ["shipping"]}))
    free = {"group": "shipping", "with": ["basket", "shipping"]}
    shipping = terms_of(offer("free_shipping", stacking=free))
    greedy = terms_of(offer("gift", stacking={"group": "gifts", "with": ["basket", "shipping", "gifts"]}))
    alone = terms_of(offer("points"))
    assert combine(basket, shipping)
    assert combine(shipping, basket)
    assert combine(shipping, shipping)
    assert not combine(basket, basket)
    assert not combine(greedy, basket)
    assert not any(combine(alone, other) for other in (alone, basket, shipping, greedy))


def test_offers_that_compete_are_of_one_currency() -> None:
    euros, yen = offer("gift"), offer("fixed_amount", value="500 JPY")
    assert mixed_currencies([euros, offer("content_only"), offer("points")]) is None
    assert mixed_currencies([euros, yen]) == (
        "its offers are of different currencies (gift EUR, fixed_amount JPY), "
        "so their costs can't be compared: use one"
    )


def test_versions_that_were_kept_with_a_duration_alone_are_read() -> None:
    assert Offer.model_validate({"id": "x", "name": "x", "valid_for": "P3D"}) == Offer.model_validate(
        {"id": "x", "name": "x", "validity": {"for": "P3D"}}
    )
    assert "valid_for" in problems(valid_for="P3D", validity={"for": "P3D"})
