"""The functions of the language: which there are, and what they do to one value.

A missing number or timestamp is NaN here, a missing text None; nothing below ever returns NULL for
a reason of its own except where it says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from audiences.rules.tree import MICROSECONDS_A_DAY

NAN = math.nan
MAX_ROUND_DIGITS = 15  # a float carries no more decimal digits than this


@dataclass(frozen=True, slots=True)
class Signature:
    """How a function is written, and how many arguments it takes."""

    usage: str
    least: int
    most: int


MANY = 100

SIGNATURES: dict[str, Signature] = {
    "tag": Signature("tag('name')", 1, 1),
    "in_audience": Signature("in_audience('name')", 1, 1),
    "abs": Signature("abs(number)", 1, 1),
    "round": Signature("round(number) or round(number, digits)", 1, 2),
    "lower": Signature("lower(text)", 1, 1),
    "upper": Signature("upper(text)", 1, 1),
    "length": Signature("length(text)", 1, 1),
    "coalesce": Signature("coalesce(value, value, …)", 1, MANY),
    "least": Signature("least(value, value, …)", 1, MANY),
    "greatest": Signature("greatest(value, value, …)", 1, MANY),
    "list_contains": Signature("list_contains(list, value)", 2, 2),
    "now": Signature("now()", 0, 0),
    "days_since": Signature("days_since(timestamp)", 1, 1),
}


def divide(left: float, right: float) -> float:
    """left / right; NaN (null) where the divisor is zero."""
    return left / right if right else NAN


def modulo(left: float, right: float) -> float:
    """Remainder with the sign of the dividend, as C's fmod; NaN (null) where the divisor is zero."""
    return NAN if right == 0 or math.isinf(left) else math.fmod(left, right)


def rounded(value: float, digits: int = 0) -> float:
    """Rounded half away from zero to a number of decimal digits (negative: tens, hundreds, …)."""
    if not math.isfinite(value):
        return value
    scale = 10.0 ** abs(digits)
    scaled = value * scale if digits >= 0 else value / scale
    if not math.isfinite(scaled):
        return value
    whole = float(math.trunc(scaled))
    if abs(scaled - whole) >= 0.5:
        whole += math.copysign(1.0, scaled)
    return whole / scale if digits >= 0 else whole * scale


def days_between(now: int, moment: float) -> float:
    """Days, with their fraction, from a moment to now; both in microseconds."""
    return (now - moment) / float(MICROSECONDS_A_DAY)


def least_number(*values: float) -> float:
    """The least of those that aren't missing."""
    return min((value for value in values if not math.isnan(value)), default=NAN)


def greatest_number(*values: float) -> float:
    """The greatest of those that aren't missing."""
    return max((value for value in values if not math.isnan(value)), default=NAN)


def least_text(*values: str | None) -> str | None:
    """The first in order of those that aren't missing."""
    return min((value for value in values if value is not None), default=None)


def greatest_text(*values: str | None) -> str | None:
    """The last in order of those that aren't missing."""
    return max((value for value in values if value is not None), default=None)


CHOOSE: dict[tuple[str, bool], Callable[..., object]] = {
    ("least", False): least_number,
    ("greatest", False): greatest_number,
    ("least", True): least_text,
    ("greatest", True): greatest_text,
}
