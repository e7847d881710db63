"""What a coupon takes off an order: pure, and within every bound."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.coupons.discount import Basket, Discount, Item, Reason, discount_of, misfits, not_stackable
from playbooks.money import MOST
from playbooks.offers import Terms

AMOUNTS = st.integers(0, MOST)
ITEMS = st.lists(
    st.builds(Item, AMOUNTS, st.sampled_from(["a", "b", ""]), st.sampled_from(["x", "y", ""])), max_size=4
)
BASKETS = st.builds(Basket, AMOUNTS, st.just("EUR"), AMOUNTS, ITEMS.map(tuple))
TERMS = st.builds(
    Terms,
    kind=st.sampled_from(["content_only", "fixed_amount", "percentage", "free_shipping", "gift", "points"]),
    currency=st.just("EUR"),
    value=st.integers(1, 10**12),
    percent=st.integers(1, 10_000).map(lambda hundredths: hundredths / 100),
    ceiling=st.integers(1, 10**12),
    minimum_spend=st.integers(0, 10**12),
    products=st.sampled_from([(), ("a",), ("a", "c")]),
    categories=st.sampled_from([(), ("x",)]),
)


@settings(max_examples=200)
@given(TERMS, BASKETS)
def test_a_discount_is_within_total_scope_and_ceiling(terms: Terms, basket: Basket) -> None:
    amount = discount_of(terms, basket).amount
    scope = [
        one.value for one in basket.items if one.product in terms.products or one.category in terms.categories
    ]
    if terms.kind == "free_shipping":
        assert amount == basket.shipping
        return
    assert 0 <= amount <= basket.total
    if terms.products or terms.categories:
        assert amount <= sum(scope)
    assert amount <= {"fixed_amount": terms.value, "percentage": terms.ceiling}.get(terms.kind, 0)


@settings(max_examples=100)
@given(TERMS.filter(lambda terms: terms.kind == "percentage"), AMOUNTS)
def test_a_percentage_is_rounded_half_up(terms: Terms, total: int) -> None:
    everything = Terms(kind="percentage", currency="EUR", percent=terms.percent, ceiling=MOST)
    exact = total * Fraction(round(terms.percent * 100), 10_000)
    amount = discount_of(everything, Basket(total, "EUR")).amount
    assert exact - Fraction(1, 2) < amount <= exact + Fraction(1, 2)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (Terms(kind="fixed_amount", currency="EUR", value=500), Discount(500, "EUR")),
        (Terms(kind="fixed_amount", currency="EUR", value=9_000), Discount(4_000, "EUR")),
        (
            Terms(kind="fixed_amount", currency="EUR", value=900, categories=("TEA",)),
            Discount(700, "EUR"),
        ),
        (Terms(kind="percentage", currency="EUR", percent=12.5, ceiling=1_500), Discount(500, "EUR")),
        (Terms(kind="percentage", currency="EUR", percent=50, ceiling=1_500), Discount(1_500, "EUR")),
        (
            Terms(kind="percentage", currency="EUR", percent=0.15, ceiling=9, products=("mug",)),
            Discount(2, "EUR"),
        ),
        (Terms(kind="free_shipping", currency="EUR"), Discount(490, "EUR")),
        (Terms(kind="gift", currency="EUR", item="mug-blue"), Discount(0, "EUR", item="mug-blue")),
        (Terms(kind="points", currency="EUR", points=250), Discount(0, "EUR", points=250)),
        (Terms(), Discount(0, "EUR")),
    ],
)
def test_each_kind(terms: Terms, expected: Discount) -> None:
    basket = Basket(4_000, "EUR", 490, (Item(700, "green", "TEA"), Item(1_000, "mug", "CUPS")))
    assert misfits(terms, basket) == []
    assert discount_of(terms, basket) == expected


def test_what_does_not_fit_is_named() -> None:
    terms = Terms(kind="fixed_amount", currency="EUR", value=5, minimum_spend=4_000, products=tuple("abcde"))
    (spend, scope) = misfits(terms, Basket(3_999, "EUR", items=(Item(3_999, "z"),)))
    assert (spend.reason, spend.detail) == (
        Reason.BELOW_MINIMUM_SPEND,
        "the order must come to 40.00 EUR, not 39.99 EUR",
    )
    assert scope.reason is Reason.OUT_OF_SCOPE
    assert scope.detail.endswith("products a, b, c and 2 more")
    assert [one.reason for one in misfits(terms, Basket(5_000, "USD"))] == [Reason.WRONG_CURRENCY]
    assert "names no `items`" in misfits(terms, Basket(5_000, "EUR"))[0].detail


def test_coupons_stack_only_both_ways() -> None:
    basket = Terms(stacking_group="basket", stacks_with=("shipping",))
    shipping = Terms(stacking_group="shipping", stacks_with=("basket",))
    deaf = Terms(stacking_group="shipping", stacks_with=("other",))
    assert not_stackable(basket, []) == not_stackable(basket, [shipping]) == not_stackable(Terms(), []) == []
    for one, others in ((basket, [shipping, deaf]), (Terms(), [Terms()]), (basket, [Terms()])):
        assert [told.reason for told in not_stackable(one, others)] == [Reason.NOT_STACKABLE]
