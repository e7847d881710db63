"""Every refusal names its place and, where there is one, what to write instead."""

from __future__ import annotations

import pytest

from audiences.rules import Rule, RuleError, Schema, Type, parse
from storage.errors import NextplayError

SCHEMA = Schema(
    {
        "orders_90d": Type.NUMBER,
        "spend": Type.NUMBER,
        "rank": Type.NUMBER,
        "event.value": Type.NUMBER,
        "city": Type.TEXT,
        "stage": Type.TEXT,
        "grade": Type.TEXT,
        "account.tier": Type.TEXT,
        "arm.category": Type.TEXT,
        "joined": Type.TIMESTAMP,
        "date": Type.TIMESTAMP,
        "active": Type.BOOL,
        "event.categories": Type.TEXTS,
        "scores": Type.NUMBERS,
        "odd name": Type.NUMBER,
    }
)


def rule(text: str) -> Rule:
    return parse(text, SCHEMA)


ACCEPTED = {
    "orders_90d>3 and city='x'": "orders_90d > 3 AND city = 'x'",
    "spend / orders_90d > 1e1 or not active": "spend / orders_90d > 10 OR NOT active",
    "(spend + 1) * 2 - -1 <> 0.5": "(spend + 1) * 2 - -1 <> 0.5",
    "spend - (rank - 1) = 0": "spend - (rank - 1) = 0",
    "orders_90d == 1 AND rank != 2": "orders_90d = 1 AND rank <> 2",
    "(active or rank = 1) and active": "(active OR rank = 1) AND active",
    "active or rank = 1 and active": "active OR (rank = 1 AND active)",
    "account.tier in ('gold', NULL)": "account.tier IN ('gold', NULL)",
    "event.value not between 1 and 2": "event.value NOT BETWEEN 1 AND 2",
    "city not ilike '%y!_' escape '!'": "city NOT ILIKE '%y!_' ESCAPE '!'",
    "city is not null": "city IS NOT NULL",
    "active is not true": "active IS NOT TRUE",
    "(orders_90d > 1) is false": "(orders_90d > 1) IS FALSE",
    "joined < now() - interval '30 days'": "joined < now() - INTERVAL '30 days'",
    "joined + INTERVAL '48 hour' > TIMESTAMP '2026-01-31T18:00:00+02:00'": (
        "joined + INTERVAL '2 days' > TIMESTAMP '2026-01-31 16:00:00'"
    ),
    "DAYS_SINCE(joined) > 3": "days_since(joined) > 3",
    "tag('x') and not in_audience('y')": "tag('x') AND NOT in_audience('y')",
    "list_contains(event.categories, arm.category)": "list_contains(event.categories, arm.category)",
    "list_contains(scores, 3)": "list_contains(scores, 3)",
    "coalesce(active, rank > 1, FALSE)": "coalesce(active, rank > 1, FALSE)",
    "round(spend, 2) = greatest(abs(rank), length(city))": (
        "round(spend, 2) = greatest(abs(rank), length(city))"
    ),
    "upper(city) = 'O''Hara'": "upper(city) = 'O''Hara'",
    'date > joined and "odd name" > 1': '"date" > joined AND "odd name" > 1',
    "stage = 'customer' or grade = 'MQL'": "stage = 'customer' OR grade = 'MQL'",
    "spend = NULL": "spend = NULL",
}


@pytest.mark.parametrize(("text", "canonical"), ACCEPTED.items())
def test_canonical_text_parses_to_the_same_rule(text: str, canonical: str) -> None:
    parsed = rule(text)
    assert str(parsed) == canonical
    assert rule(canonical) == parsed
    assert parsed.text == text


def test_a_rule_knows_what_it_uses() -> None:
    parsed = rule("event.value > 1 AND tag('a') AND (NOT tag('b') OR in_audience('vip')) AND city IS NULL")
    assert parsed.names == {"event.value", "city"}
    assert parsed.types == {"event.value": Type.NUMBER, "city": Type.TEXT}
    assert parsed.tags == {"a", "b"}
    assert parsed.audiences == {"vip"}
    assert not parsed.uses_now
    assert rule("days_since(joined) < 3").uses_now
    assert rule("joined < now()").uses_now


REFUSED = {
    # names
    "order_90d > 3": (1, 1, 'unknown feature "order_90d"', 'did you mean "orders_90d"?'),
    "Orders_90d > 3": (1, 1, 'unknown feature "Orders_90d"', 'did you mean "orders_90d"?'),
    "\n\n  city =\n  foo": (4, 3, 'unknown feature "foo"', None),
    "rank.x > 1": (1, 1, 'unknown feature "rank.x"', 'did you mean "rank"?'),
    "account.teir = 'gold'": (1, 1, 'unknown feature "account.teir"', 'did you mean "account.tier"?'),
    "lowr(city) = 'x'": (1, 1, 'unknown function "lowr"', 'did you mean "lower"?'),
    "active AND sum(rank) > 1": (1, 12, 'unknown function "sum"', None),
    # types
    "city = 3": (1, 8, "city is text, but 3 is a number", "write '3'"),
    "rank = '3'": (1, 8, "rank is a number, but '3' is text", "write the number without quotes"),
    "joined < '2026-01-01'": (
        1,
        10,
        "joined is a timestamp, but '2026-01-01' is text",
        "write TIMESTAMP '2026-01-01'",
    ),
    "rank": (1, 1, "rank is a number, not a condition", "write a condition, for example orders_90d > 0"),
    "active AND city": (
        1,
        12,
        "city is text, not a condition",
        "write a condition, for example orders_90d > 0",
    ),
    "city + 1 > 2": (
        1,
        1,
        "city is text, not a number",
        "write days_since(…) for the age of a timestamp, or timestamp - INTERVAL '30 days'",
    ),
    "rank * city > 2": (1, 8, "city is text, not a number", None),
    "-city = 'a'": (1, 2, "city is text, not a number", None),
    "active < TRUE": (1, 1, "conditions have no order, so < can't compare them", "write = or <>"),
    "active IN (TRUE)": (1, 1, "active is a condition, which IN doesn't take", None),
    "active BETWEEN TRUE AND TRUE": (1, 1, "active is a condition, which BETWEEN doesn't take", None),
    "event.categories = scores": (
        1,
        20,
        "event.categories is a list of text, but scores is a list of numbers",
        None,
    ),
    "scores = scores": (1, 1, "lists are not compared", "write list_contains(scores, …)"),
    "city IN ('a', 2)": (1, 15, "city is text, but 2 is a number", "write '2'"),
    "rank BETWEEN 1 AND 'b'": (1, 20, "rank is a number, but 'b' is text", "write the number without quotes"),
    "rank LIKE 'a%'": (1, 1, "rank is a number, not text", None),
    "rank IS TRUE": (
        1,
        1,
        "rank is a number, not a condition",
        "write a condition, for example orders_90d > 0",
    ),
    "list_contains(city, 'a')": (1, 15, "city is text, not a list", "write = to compare"),
    "list_contains(scores, 'a')": (1, 23, "'a' is text, not a number", None),
    "abs(city) > 1": (1, 5, "city is text, not a number", "write abs(number)"),
    "least(active, TRUE)": (1, 1, "active is a condition, which least doesn't take", None),
    "coalesce(scores) IS NULL": (1, 1, "scores is a list of numbers, which coalesce doesn't take", None),
    "coalesce(rank, city) > 1": (1, 16, "rank is a number, but city is text", None),
    "lower(city, 1) = 'x'": (1, 1, "lower doesn't take 2 arguments", "write lower(text)"),
    "abs() > 1": (1, 1, "abs doesn't take 0 arguments", "write abs(number)"),
    "round(spend, rank) = 1": (1, 14, "digits are a whole number up to 15", None),
    "round(spend, 99) = 1": (1, 14, "digits are a whole number up to 15", None),
    "tag(city)": (1, 5, "tag takes a name in quotes", "write tag('name')"),
    "1 < rank < 5": (1, 1, "comparisons can't be chained", "join them with AND, or set brackets"),
    "active = rank > 1": (1, 10, "comparisons can't be chained", "join them with AND, or set brackets"),
    # not in the language
    "city IN (SELECT 1)": (1, 10, "SELECT is not part of the rule language", None),
    "SELECT 1": (1, 1, "SELECT is not part of the rule language", None),
    "EXISTS (SELECT 1)": (1, 1, "EXISTS is not part of the rule language", None),
    "active; DROP TABLE users": (
        1,
        7,
        "; is not part of the rule language",
        "a rule is one condition, without a semicolon",
    ),
    "active;": (1, 7, "; is not part of the rule language", "a rule is one condition, without a semicolon"),
    "active -- or not": (1, 8, "comments are not part of a rule", "put the remark in the description"),
    "active /* AND 1 = 1 */ OR TRUE": (
        1,
        8,
        "comments are not part of a rule",
        "put the remark in the description",
    ),
    "/* x */ active": (1, 1, "comments are not part of a rule", "put the remark in the description"),
    "1 --1\n= 2": (1, 3, "comments are not part of a rule", "put the remark in the description"),
    "city = $1": (1, 8, "$ is not part of the rule language", None),
    "city = ?": (1, 8, "? is not part of the rule language", None),
    "city = :name": (1, 8, ": is not part of the rule language", None),
    "city::int = 1": (
        1,
        5,
        ":: is not part of the rule language",
        "there are no casts; features have their types already",
    ),
    "cast(city AS int) = 1": (1, 11, "AS is not part of the rule language", None),
    "CASE WHEN active THEN TRUE END": (
        1,
        1,
        "CASE is not part of the rule language",
        "write the cases with AND and OR",
    ),
    "rank(spend) OVER () > 1": (1, 13, "OVER is not part of the rule language", None),
    "city || 'a' = 'b'": (
        1,
        6,
        "|| is not part of the rule language",
        "text can't be joined; compare its parts",
    ),
    "city ~ 'a'": (1, 6, "~ is not part of the rule language", None),
    "scores[1] = 1": (1, 7, "[ is not part of the rule language", None),
    "rank // 2 = 1": (1, 6, "// is not part of the rule language", None),
    "rank ** 2 = 1": (1, 6, "** is not part of the rule language", None),
    "active IS DISTINCT FROM TRUE": (
        1,
        11,
        "DISTINCT is not part of the rule language",
        "write = together with IS NULL",
    ),
    "city = e'a'": (1, 8, "e'a' is not part of the rule language", None),
    "city = $$a$$": (1, 8, "$$a$$ is not part of the rule language", None),
    "city = 'a' 'b'": (1, 8, "Concat is not part of the rule language", None),
    "city LIKE city": (1, 11, "a pattern is a text constant", "write LIKE 'abc%'"),
    "city LIKE 'a!' ESCAPE '!'": (
        1,
        11,
        "the pattern ends in its escape character",
        "double it, or leave it out",
    ),
    "city LIKE 'a' ESCAPE '!!'": (1, 22, "ESCAPE takes one character", "write ESCAPE '!'"),
    "rank IN (spend)": (1, 10, "spend is not a constant", "write = and OR"),
    "rank IS 3": (1, 9, "IS takes NULL, TRUE or FALSE", "write = to compare"),
    "INTERVAL '3 days' > 1": (
        1,
        10,
        "an interval stands only after + or -",
        "write now() - INTERVAL '30 days'",
    ),
    "joined - INTERVAL '1 month' > now()": (
        1,
        19,
        "INTERVAL '1 month' has no fixed length",
        "write one unit of weeks, days, hours, minutes, seconds, milliseconds, microseconds",
    ),
    "joined - joined > 3": (
        1,
        1,
        "joined is a timestamp, not a number",
        "write days_since(…) for the age of a timestamp, or timestamp - INTERVAL '30 days'",
    ),
    "rank - INTERVAL '1 day' > 3": (
        1,
        1,
        "rank is a number, not a timestamp",
        "an interval is added to a timestamp",
    ),
    "joined > TIMESTAMP 'yesterday'": (
        1,
        20,
        "'yesterday' is not a timestamp",
        "write TIMESTAMP '2026-01-31 18:00:00'",
    ),
    "joined > TIMESTAMP '2026-02-30'": (
        1,
        20,
        "'2026-02-30' is not a timestamp",
        "write TIMESTAMP '2026-01-31 18:00:00'",
    ),
    "rank > 1e999": (1, 8, "1e999 is too large for a number", None),
    "rank > 1e4.5": (1, 8, "1e4.5 is not a number", None),
    # shape
    "": (1, 1, "the rule is empty", "write a condition, for example orders_90d > 0"),
    " \n ": (1, 1, "the rule is empty", "write a condition, for example orders_90d > 0"),
    "city = 'x": (1, 8, "this is never closed", "close it, and double a quote that is meant"),
    '\n"odd = 1': (2, 1, "this is never closed", "close it, and double a quote that is meant"),
    "active /* x": (1, 8, "this is never closed", "close it, and double a quote that is meant"),
    "rank > ": (1, 7, "the rule ends where a value or a condition is missing", None),
    "active AND": (1, 11, "the rule ends where a value or a condition is missing", None),
    "(active": (1, 8, 'the rule ends where ")" is missing', None),
    "active)": (1, 7, 'this ")" closes nothing', "remove it or open it before"),
    "rank = AND active": (1, 8, "unexpected AND", None),
    "rank = 1 1": (1, 10, "unexpected 1", None),
    "rank BETWEEN 1 OR 2": (1, 16, "unexpected OR", None),
    "rank IN ()": (1, 10, "unexpected )", None),
    "rank IN 3": (1, 9, "unexpected 3", None),
    "(rank, spend) = (1, 2)": (1, 6, "unexpected ,", None),
    "abs(rank,) = 1": (1, 10, "unexpected )", None),
    "* = 1": (1, 1, "Star is not part of the rule language", None),
}


@pytest.mark.parametrize(("text", "told"), REFUSED.items())
def test_refusals_point_at_the_piece(text: str, told: tuple[int, int, str, str | None]) -> None:
    line, column, message, suggestion = told
    with pytest.raises(RuleError) as raised:
        rule(text)
    error = raised.value
    assert (error.line, error.column, error.message) == (line, column, message)
    if suggestion is not None:
        assert error.suggestion == suggestion
    assert str(error).startswith(f"line {line}, column {column}: {message}")


def test_rule_errors_are_unprocessable() -> None:
    with pytest.raises(NextplayError) as raised:
        rule("")
    assert (raised.value.status, raised.value.code, raised.value.retry) == (422, "rule", False)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("(" * 9_000 + "active" + ")" * 9_000, 33),
        ("NOT " * 4_900 + "active", 32 * 4 + 1),
        ("- " * 9_000 + "1 = 1", 32 * 2 + 1),
        ("abs(" * 3_300 + "rank" + ")" * 3_300 + " = 1", 32 * 4 + 4),
        ("NOT (" * 3_000 + "active" + ")" * 3_000, 16 * 5 + 1),
        ("rank IN (" * 2_000, 33 * 9),
        ("1" + " + 1" * 4_900 + " = 1", 1),
        ("active" + " IS NULL" * 2_400, 1),
    ],
)
def test_deep_nesting_is_refused_in_place(text: str, column: int) -> None:
    with pytest.raises(RuleError, match="deep") as raised:
        rule(text)
    assert (raised.value.line, raised.value.column) == (1, column)


def test_nesting_up_to_the_limit_is_read() -> None:
    assert str(rule("(" * 32 + "active" + ")" * 32)) == "active"
    assert str(rule("NOT " * 32 + "active")).count("NOT") == 32
    assert rule("abs(" * 32 + "rank" + ")" * 32 + " = 1").names == {"rank"}


def test_long_chains_are_not_deep() -> None:
    many = " AND ".join(["rank > 1"] * 1_500)
    assert rule(many) == rule("rank > 1 AND " * 1_499 + "rank > 1")
    assert rule(" OR ".join(["rank > 1"] * 1_500)).names == {"rank"}


def test_long_text_is_refused_where_it_is_too_long() -> None:
    with pytest.raises(RuleError, match="more than 20,000") as raised:
        rule("rank > 1 AND\n" * 1_600)
    assert (raised.value.line, raised.value.column) == (1539, 7)


def test_membership_can_be_forbidden() -> None:
    closed = Schema({"rank": Type.NUMBER}, tags=False, audiences=False)
    with pytest.raises(RuleError, match="tag can't be used"):
        parse("rank > 1 AND tag('x')", closed)
    with pytest.raises(RuleError, match="in_audience can't be used"):
        parse("in_audience('x')", closed)


@pytest.mark.parametrize(
    "word", ["value", "end", "rank", "order", "first", "list", "type", "user", "percent"]
)
def test_words_of_sql_may_name_features(word: str) -> None:
    named = Schema({word: Type.NUMBER, f"event.{word}": Type.NUMBER})
    for text in (f"{word} > 1", f'"{word}" > 1', f"event.{word} > 1"):
        parsed = parse(text, named)
        assert parse(str(parsed), named) == parsed
