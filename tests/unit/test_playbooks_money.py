"""Money: minor units with a currency, written as text, never mixed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from playbooks.money import MOST, MixedCurrencies, Money, one_currency, parse, shown

CURRENCIES = ["EUR", "USD", "JPY", "KWD", "CLF", "VND", "MGA"]
amounts = st.integers(0, MOST)
money = st.builds(Money, amounts, st.sampled_from(CURRENCIES))


class Document(BaseModel):
    price: Money


@given(money)
def test_what_is_shown_is_read_again(one: Money) -> None:
    assert parse(str(one)) == one
    document = Document(price=one)
    assert Document.model_validate_json(document.model_dump_json()) == document


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("5.00 EUR", 500, "EUR"),
        ("5 EUR", 500, "EUR"),
        ("5.5 EUR", 550, "EUR"),
        ("0.01 USD", 1, "USD"),
        ("500 JPY", 500, "JPY"),
        ("1.234 KWD", 1234, "KWD"),
        ("  12.30 EUR ", 1230, "EUR"),
    ],
)
def test_digits_are_those_of_the_currency(text: str, amount: int, currency: str) -> None:
    assert parse(text) == Money(amount, currency)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("5.001 EUR", "has 3 decimals, but EUR has 2"),
        ("5.0 JPY", "has 1 decimals, but JPY has 0"),
        ("-5.00 EUR", "must not be negative"),
        ("5,00 EUR", "takes a point before the decimals"),
        ("1,000.00 EUR", "nothing between thousands"),
        ("5.00 eur", "currencies are written in capitals"),
        ("5.00", "write an amount and its currency, for example 5.00 EUR"),
        ("EUR 5.00", "is not money"),
        ("5.00 ABC", "there is no currency 'ABC'"),
        ("5.00 XAU", "there is no currency 'XAU' in ISO 4217 that one can pay with"),
        ("1e3 EUR", "is not money"),
        ("NaN EUR", "is not money"),
        ("٥ EUR", "is not money"),
        ("", "is not money"),
        ("99999999999999999999 EUR", "is out of all reason"),
        ("1" * 5000 + " EUR", "is out of all reason"),
        ("10000000000000.01 EUR", "is out of all reason"),
    ],
)
def test_what_is_no_money_says_why(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"money|decimals|currency|reason") as caught:
        parse(text)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 200
    with pytest.raises(ValidationError, match="price"):
        Document.model_validate({"price": text})


@pytest.mark.parametrize("value", [5, 5.0, None, True, {"amount": 5, "currency": "EUR"}, ["5.00 EUR"]])
def test_money_without_a_currency_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="money is text with its currency"):
        Document.model_validate({"price": value})


@given(money, money)
def test_arithmetic_is_exact_and_never_mixes(one: Money, other: Money) -> None:
    if one.currency != other.currency:
        for mixed in (lambda: one + other, lambda: one - other, lambda: one < other, lambda: one >= other):
            with pytest.raises(MixedCurrencies, match="different currencies"):
                mixed()
        return
    assert (one <= other) == (one.amount <= other.amount)
    assert (one < other) == (one.amount < other.amount)
    if one.amount + other.amount <= MOST:
        assert (one + other) - other == one
    if one < other:
        with pytest.raises(ValueError, match="negative"):
            one - other


def test_several_amounts_have_one_currency_or_are_told() -> None:
    euros, dollars = parse("5.00 EUR"), parse("7.00 USD")
    assert one_currency("the offer", {"value": euros, "cost": None}) == "EUR"
    assert one_currency("the offer", {"value": None}) is None
    with pytest.raises(
        MixedCurrencies, match=r"the offer mixes currencies \(value 5.00 EUR, cost 7.00 USD\)"
    ):
        one_currency("the offer", {"value": euros, "cost": dollars})


def test_differences_are_shown_with_their_sign() -> None:
    assert shown(-5, "EUR") == "-0.05 EUR"
    assert shown(-5, "JPY") == "-5 JPY"
