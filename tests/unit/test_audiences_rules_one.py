"""Rules for one user: what values they take, and the two ways to hand them over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest

from audiences.rules import RuleValueError, Schema, Type, compile_one, parse
from audiences.rules.forms import Forms

SCHEMA = Schema(
    {
        "n": Type.NUMBER,
        "m": Type.NUMBER,
        "t": Type.TEXT,
        "b": Type.BOOL,
        "d": Type.TIMESTAMP,
        "ts": Type.TEXTS,
        "ns": Type.NUMBERS,
    }
)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def true_of(text: str, **values: object) -> bool:
    rule = parse(text, SCHEMA)
    (compiled,) = compile_one([rule])(values, now=NOW)
    assert rule.matches(values, now=NOW) is compiled
    return compiled


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3), Decimal(3), True + 2])
def test_any_number_will_do(value: object) -> None:
    assert true_of("n = 3", n=value)


@pytest.mark.parametrize("value", [None, float("nan"), np.float64("nan")])
def test_nan_and_none_are_null(value: object) -> None:
    assert true_of("n IS NULL AND t IS NULL AND b IS NULL AND d IS NULL", n=value, t=value, b=value, d=value)
    assert not true_of("n > 0 OR n <= 0 OR n <> 0 OR NOT n = 0", n=value)
    assert true_of("d IS NULL", d=np.datetime64("NaT"))


def test_a_feature_that_is_not_given_is_null() -> None:
    assert true_of("n IS NULL AND b IS NOT TRUE AND t IS NULL AND ts IS NULL")
    assert true_of("n IS NULL AND m = 1", m=1)


def test_numbers_are_floats() -> None:
    assert true_of("n = 9007199254740992", n=2**53 + 1)
    assert true_of("n > 1e300", n=10**400)
    assert true_of("n < -1e300", n=-(10**400))
    assert true_of("n = 0", n=-0.0)
    assert not true_of("n * 1e300 * 1e300 - n * 1e300 * 1e300 >= 0", n=1e300), "inf - inf is no number"


def test_division_by_zero_is_null() -> None:
    assert true_of("(n / m) IS NULL AND (n % m) IS NULL AND (n / 0) IS NULL", n=5, m=0)
    assert true_of("n / m = -2 AND n % m = -1 AND n % -2 = -1", n=-5, m=2.5) is False
    assert true_of("n / m = -2.5 AND n % m = -1 AND n % -2 = -1", n=-5, m=2)


def test_rounding_is_half_away_from_zero() -> None:
    assert true_of("round(n) = 3 AND round(-n) = -3 AND round(m) = 0", n=2.5, m=0.49999999999999994)
    assert true_of("round(n, 1) = 0.3 AND round(m, -2) = 1300", n=0.25, m=1250)


def test_times_of_any_zone_are_compared_in_utc() -> None:
    elsewhere = timezone(timedelta(hours=5, minutes=30))
    assert true_of("d = TIMESTAMP '2026-01-01 00:00:00'", d=datetime(2026, 1, 1, 5, 30, tzinfo=elsewhere))
    assert true_of("d = TIMESTAMP '2026-01-01T00:00:00.5Z'", d=np.datetime64("2026-01-01T00:00:00.5"))
    assert true_of("days_since(d) = 1.5 AND d > now() - INTERVAL '2 days'", d=NOW - timedelta(hours=36))


def test_lists() -> None:
    assert true_of("list_contains(ts, 'a') AND NOT list_contains(ts, t)", ts=("a", None), t="b")
    assert true_of("list_contains(ns, 3) AND NOT list_contains(ns, n)", ns=np.asarray([3, 4]), n=5)
    assert true_of("list_contains(ts, t) IS NULL AND list_contains(ns, 1) IS NULL", ts=["a"])
    assert not true_of("list_contains(ns, n)", ns=[float("nan")], n=float("nan"))


@pytest.mark.parametrize(
    ("text", "value", "name"),
    [
        ("n > 1", "3", "n"),
        ("n > 1", b"3", "n"),
        ("n > 1", np.datetime64("2026-01-01"), "n"),
        ("n > 1", datetime(2026, 1, 1, tzinfo=UTC), "n"),
        ("t = 'a'", 3, "t"),
        ("b", 1, "b"),
        ("b", "true", "b"),
        ("d < now()", datetime(2026, 1, 1), "d"),  # noqa: DTZ001 - a naive time is the point
        ("d < now()", "2026-01-01", "d"),
        ("list_contains(ts, 'a')", "abc", "ts"),
        ("list_contains(ts, 'a')", [1], "ts"),
        ("list_contains(ns, 1)", ["a"], "ns"),
        ("list_contains(ns, 1)", 1, "ns"),
    ],
)
def test_values_of_another_type_are_refused_by_name(text: str, value: object, name: str) -> None:
    rule = parse(text, SCHEMA)
    with pytest.raises(RuleValueError, match=f'"{name}"'):
        compile_one([rule])({name: value}, now=NOW)
    with pytest.raises(RuleValueError, match=f'"{name}"'):
        rule.matches({name: value}, now=NOW)


def test_now_must_be_given_where_it_is_asked_for() -> None:
    rule = parse("days_since(d) > 1", SCHEMA)
    with pytest.raises(RuleValueError, match="now="):
        compile_one([rule])({"d": NOW})
    with pytest.raises(RuleValueError, match="now="):
        rule.matches({"d": NOW})
    with pytest.raises(RuleValueError, match="without a zone"):
        compile_one([rule])({"d": NOW}, now=NOW.replace(tzinfo=None))


def test_tags_and_audiences() -> None:
    compiled = compile_one([parse(text, SCHEMA) for text in ("tag('x')", "NOT tag('y')", "in_audience('x')")])
    assert compiled({}, tags={"x"}, audiences={"y"}) == [True, True, False]


def test_rows_come_in_the_order_of_names() -> None:
    rules = [parse(text, SCHEMA) for text in ("n > m", "t = 'a'", "n > m AND t = 'a'", "TRUE", "NULL")]
    compiled = compile_one(rules)
    assert compiled.names == ("m", "n", "t")
    assert compiled.row((1, 2, "a")) == [True, True, True, True, False]
    assert compiled({"n": 2, "m": 1, "t": "b", "unasked": 9}) == [True, False, False, True, False]
    assert compile_one([])({}) == []


def test_text_of_a_rule_stays_text() -> None:
    hostile = "x') or __import__('os').abort() or ('"
    text = "t = '" + hostile.replace("'", "''") + "'"
    assert true_of(text, t=hostile)
    odd = Schema({"__import__('os').abort()": Type.NUMBER})
    rule = parse("\"__import__('os').abort()\" = 1", odd)
    assert compile_one([rule])({"__import__('os').abort()": 1}) == [True]


def test_forms_do_not_grow_with_nesting() -> None:
    text = "b"
    for _ in range(10):
        text = f"((({text}) = b) IS NULL OR n > 1)"
    rule = parse(text, SCHEMA)
    assert len(Forms([rule.tree]).entries) < 150
    assert compile_one([rule])({"b": True, "n": 1}) == [rule.matches({"b": True, "n": 1})]
