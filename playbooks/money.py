"""Money: an amount in minor units of a currency of ISO 4217. Written and shown as `5.00 EUR`."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from iso4217 import Currency
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

# Nobody has more of anything (in minor units); every amount fits into a column of 64 bits and a float.
MOST = 10**15

_WRITTEN = re.compile(r"(?P<whole>[0-9]+)(?:\.(?P<part>[0-9]+))? (?P<currency>[A-Z]{3})", re.ASCII)
_EXAMPLE = "write an amount and its currency, for example 5.00 EUR"

# Minor digits of what can be paid with; metals, funds' units and codes for tests have none.
_DIGITS = {one.code: one.exponent for one in Currency if one.exponent is not None}


class MixedCurrencies(ValueError):
    """Amounts of different currencies were added or compared; there are no exchange rates here."""


class Money(msgspec.Struct, frozen=True, order=False, gc=False):
    """An amount of minor units (cents) of a currency, in [0, MOST]. In a document it is text: `5.00 EUR`.

    Raises:
        ValueError: the amount is negative or out of all reason, or there is no such currency.
    """

    amount: int
    currency: str

    def __post_init__(self) -> None:
        if self.currency not in _DIGITS:
            raise ValueError(
                f"there is no currency {self.currency!r} in ISO 4217 that one can pay with; {_EXAMPLE}"
            )
        if self.amount < 0:
            raise ValueError(f"money must not be negative: {self}")
        if self.amount > MOST:
            raise ValueError(f"{self} is out of all reason; the most is {shown(MOST, self.currency)}")

    def __str__(self) -> str:
        return shown(self.amount, self.currency)

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._same(other), self.currency)

    def __mul__(self, times: int) -> Money:
        return Money(self.amount * times, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.amount > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.amount >= self._same(other)

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            raise MixedCurrencies(
                f"{self} and {other} are of different currencies; there is no exchange rate here"
            )
        return other.amount

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _validated, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)? [A-Z]{3}$",
            "examples": ["5.00 EUR", "500 JPY"],
            "description": "An amount and its currency of ISO 4217, with no more decimals than that has.",
        }


def parse(text: str) -> Money:
    """Return the money a text like `5.00 EUR` tells of.

    Raises:
        ValueError: it is not written so, is negative or out of all reason, has more decimals than the
            currency, or there is no such currency.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{_shortened(text)} is not money{_hint(text.strip())}; {_EXAMPLE}")
    currency = found["currency"]
    digits = _DIGITS.get(currency)
    if digits is None:
        raise ValueError(f"there is no currency {currency!r} in ISO 4217 that one can pay with; {_EXAMPLE}")
    whole, part = found["whole"], found["part"] or ""
    if len(part) > digits:
        raise ValueError(f"{_shortened(text)} has {len(part)} decimals, but {currency} has {digits}")
    if len(whole) > len(str(MOST)):
        raise ValueError(f"{_shortened(text)} is out of all reason; the most is {shown(MOST, currency)}")
    return Money(int(whole + part.ljust(digits, "0")), currency)


def shown(amount: int, currency: str) -> str:
    """Return an amount of minor units as it is written, `5.00 EUR`; negative ones too (differences)."""
    digits = digits_of(currency)
    sign, text = "-" if amount < 0 else "", str(abs(amount)).rjust(digits + 1, "0")
    whole, part = (text[:-digits], f".{text[-digits:]}") if digits else (text, "")
    return f"{sign}{whole}{part} {currency}"


def digits_of(currency: str) -> int:
    """Return how many digits a currency's minor units are of its whole ones: 2 for EUR, 0 for JPY."""
    return _DIGITS.get(currency, 2)


def units(amount: int, currency: str) -> float:
    """Return an amount of minor units in units of its currency, as events tell it: 1250 of EUR is 12.5."""
    return float(amount / 10 ** digits_of(currency))


def rate(number: float, unit: str, sign: str = "") -> str:
    """Return a number, or what of money falls to one of many, as people write it.

    Args:
        unit: the currency in whose minor units the number is; empty: it is no money.
        sign: "+" to say also that it is more than 0.

    >>> rate(1.234, "EUR", "+"), rate(50, "JPY"), rate(0.005, "")
    ('+0.01234 EUR', '50 JPY', '0.005')
    """
    if not unit:
        return f"{number:{sign}.4g}"
    return f"{number / 10 ** digits_of(unit):{sign}.4g} {unit}"


def one_currency(what: str, amounts: dict[str, Money | None]) -> str | None:
    """Return the currency of the amounts that are there, by what each is called; None without any.

    Raises:
        MixedCurrencies: there are several; the message names each amount.
    """
    given = {name: money for name, money in amounts.items() if money is not None}
    currencies = {money.currency for money in given.values()}
    if len(currencies) > 1:
        told = ", ".join(f"{name} {money}" for name, money in given.items())
        raise MixedCurrencies(f"{what} mixes currencies ({told}); there is no exchange rate here: use one")
    return currencies.pop() if currencies else None


def _validated(value: Any) -> Money:
    if isinstance(value, Money):
        return value
    if not isinstance(value, str):
        raise ValueError(f"money is text with its currency, not {_shortened(value)}; {_EXAMPLE}")
    return parse(value)


def _hint(text: str) -> str:
    if text.startswith("-"):
        return ": it must not be negative"
    if "," in text:
        return ": it takes a point before the decimals and nothing between thousands"
    if re.search("[a-z]", text):
        return ": currencies are written in capitals"
    return ""


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
