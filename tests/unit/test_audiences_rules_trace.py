"""The explanation of one answer names the parts that made it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from audiences.rules import Schema, Trace, Type, parse, trace

SCHEMA = Schema(
    {
        "orders_90d": Type.NUMBER,
        "city": Type.TEXT,
        "active": Type.BOOL,
        "joined": Type.TIMESTAMP,
        "liked": Type.TEXTS,
    }
)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
USER = {
    "orders_90d": 2,
    "city": "Köln",
    "active": None,
    "joined": datetime(2026, 2, 1, tzinfo=UTC),
    "liked": ["a", "b", "c", "d", "e", "f"],
}


def explain(text: str) -> Trace:
    rule = parse(text, SCHEMA)
    found = trace(rule, USER, tags={"vip"}, audiences={"loyal"}, now=NOW)
    assert (found.truth is True) is rule.matches(USER, tags={"vip"}, audiences={"loyal"}, now=NOW)
    return found


@pytest.mark.parametrize(
    ("text", "truth", "words"),
    [
        ("orders_90d > 3", False, "orders_90d > 3 is false: orders_90d is 2"),
        (
            "orders_90d > 1 AND city = 'Bonn' AND tag('new')",
            False,
            "city = 'Bonn' is false: city is 'Köln'",
        ),
        (
            "orders_90d > 1 AND city = 'Köln'",
            True,
            "orders_90d > 1 is true: orders_90d is 2; city = 'Köln' is true: city is 'Köln'",
        ),
        ("orders_90d > 9 OR tag('vip') OR city = 'Köln'", True, "tag('vip') is true: tag 'vip' is set"),
        (
            "orders_90d > 9 OR tag('new')",
            False,
            "orders_90d > 9 is false: orders_90d is 2; tag('new') is false: tag 'new' is not set",
        ),
        ("active AND orders_90d > 1", None, "active is unknown: active is NULL"),
        ("NOT (orders_90d > 9 OR in_audience('loyal'))", False, None),
        ("NOT active = TRUE", None, "NOT (active = TRUE) is unknown: active is NULL"),
        (
            "days_since(joined) > 30",
            False,
            "days_since(joined) > 30 is false: joined is TIMESTAMP '2026-02-01 00:00:00'",
        ),
        (
            "list_contains(liked, city)",
            False,
            "list_contains(liked, city) is false: liked is ['a', 'b', 'c', 'd', 'e', …], city is 'Köln'",
        ),
        ("TRUE", True, "TRUE is true"),
    ],
)
def test_words(text: str, truth: bool | None, words: str | None) -> None:
    found = explain(text)
    assert found.truth is truth
    if words is not None:
        assert found.words == words


def test_the_tree_keeps_every_part() -> None:
    found = explain("NOT (orders_90d > 9 OR in_audience('loyal')) AND active")
    assert [part.text for part in found.parts] == ["NOT (orders_90d > 9 OR in_audience('loyal'))", "active"]
    (either,) = found.parts[0].parts
    assert [(part.text, part.truth, part.decided) for part in either.parts] == [
        ("orders_90d > 9", False, False),
        ("in_audience('loyal')", True, True),
    ]
    assert found.words == "in_audience('loyal') is true: the user is in 'loyal'"
    assert not found.parts[1].decided


def test_a_trace_is_plain_data() -> None:
    found = explain("orders_90d > 3 AND active")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Trace) == found
