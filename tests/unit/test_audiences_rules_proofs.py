"""What is proved of rules is true of every user; what is plain enough is proved."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiences.rules import Schema, Type, parse
from audiences.rules.proofs import implies, never
from audiences.rules.tree import Node

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SCHEMA = Schema(
    {
        "a": Type.NUMBER,
        "b": Type.NUMBER,
        "t": Type.TEXT,
        "f": Type.BOOL,
        "at": Type.TIMESTAMP,
        "l": Type.TEXTS,
    }
)


def tree(rule: str) -> Node:
    return parse(rule, SCHEMA).tree


@pytest.mark.parametrize(
    "rule",
    [
        "a > 2 AND a < 1",
        "a BETWEEN 5 AND 3",
        "a >= 3 AND a <= 3 AND a <> 3",
        "a = 1 AND a IS NULL",
        "a < b AND b < a",
        "a < b AND NOT (a < b)",
        "a < a",
        "t = 'x' AND t = 'y'",
        "t IN ('x', 'y') AND t NOT IN ('x', 'y', 'z')",
        "(a > 2 OR t = 'x') AND a < 1 AND t = 'z'",
        "tag('x') AND NOT tag('x')",
        "f AND NOT f",
        "t LIKE 'a%' AND t NOT LIKE 'a%'",
        "at > TIMESTAMP '2026-01-01' AND at < TIMESTAMP '2025-01-01'",
        "at > now() AND at < now()",
        "NOT (a > 1 OR a <= 1)",
        "a NOT IN (1, NULL)",
        "l IS NULL AND list_contains(l, 'x')",
        "FALSE",
    ],
)
def test_contradictions_are_proved(rule: str) -> None:
    assert never(tree(rule))


@pytest.mark.parametrize(
    "rule",
    ["a > 1 AND a < 2", "a >= 3 AND a <= 3", "a IS NULL", "NOT (a > 1)", "t <> 'x' OR f", "a > 5 AND b < 3"],
)
def test_what_can_be_is_not_denied(rule: str) -> None:
    assert not never(tree(rule))


def test_rules_of_audiences_are_read() -> None:
    audiences = {"many": tree("a >= 4"), "most": tree("in_audience('many') AND f")}
    assert never(tree("in_audience('most') AND a < 3"), audiences)
    assert not never(tree("in_audience('most') AND a < 3"))
    assert not never(tree("NOT in_audience('most') AND a < 3"), audiences)


def test_names_may_have_one_value_for_everybody() -> None:
    assert never(tree("t = 'x' AND a > 1"), values={"t": "y"})
    assert never(tree("a > 1"), values={"a": 0.5})
    assert never(tree("t <> 'x'"), values={"t": None})
    assert never(tree("f"), values={"f": False})
    assert never(tree("list_contains(l, t)"), values={"t": None})
    assert not never(tree("t IN ('x', 'y') AND a > b"), values={"t": "y", "a": 2.0})


def test_one_rule_follows_from_another() -> None:
    assert implies(tree("a > 5 AND f"), tree("a > 3 OR t = 'x'"))
    assert not implies(tree("a > 2"), tree("a > 3"))
    # Of a user without `a` the second is unknown, and so does not hold.
    assert not implies(tree("f"), tree("a > 3 OR a <= 3"))


def test_a_search_that_would_not_end_gives_up() -> None:
    choices = " AND ".join(f"(a + {n} < b OR b + {n} < a OR t <> '{n}')" for n in range(250))
    assert never(tree(f"a > 2 AND a < 1 AND {choices}"))
    assert not never(tree(choices))
    doubtful = " AND ".join(f"(a <> {n} OR t <> '{n}' OR f)" for n in range(250))
    assert not never(tree(f"a + 1 > b AND {doubtful} AND NOT f"))
    doubling = {
        f"n{n}": tree(f"in_audience('n{n - 1}') OR NOT in_audience('n{n - 1}')") for n in range(1, 40)
    }
    assert not never(tree("in_audience('n39')"), doubling)


_tests = st.one_of(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(("=", "<>", "<", "<=", ">", ">=")),
        st.sampled_from(("0", "1", "2", "a", "b")),
    ).map(" ".join),
    st.sampled_from(("a IS NULL", "b IS NOT NULL", "a IN (0, 1)", "b NOT IN (1, 2)", "a BETWEEN 1 AND b")),
    st.sampled_from(("t = 'x'", "t <> 'y'", "t IS NULL", "t LIKE 'x%'", "t IN ('x', 'y')", "t > 'x'")),
    st.sampled_from(("f", "NOT f", "f IS NULL", "f IS NOT TRUE", "tag('x')", "NOT tag('x')")),
    st.sampled_from(("a + b > 2", "coalesce(a, b) < 1", "list_contains(l, 'x')", "l IS NULL", "at < now()")),
)
_rules = st.recursive(
    _tests,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from((" AND ", " OR ")), inner).map(lambda p: f"({''.join(p)})"),
        inner.map(lambda rule: f"NOT ({rule})"),
    ),
    max_leaves=8,
)
_users = [
    {"a": a, "b": b, "t": t, "f": f, "at": at, "l": liked}
    for a in (None, 0.0, 1.0, 2.0)
    for b in (None, 0.0, 1.5)
    for t in (None, "x", "y")
    for f, at, liked in ((None, None, None), (True, NOW, ["x"]), (False, NOW.replace(year=2025), []))
]


@settings(max_examples=200)
@given(one=_rules, other=_rules)
def test_nobody_is_an_exception(one: str, other: str) -> None:
    rule, conclusion = parse(one, SCHEMA), parse(other, SCHEMA)
    impossible, follows = never(rule.tree), implies(rule.tree, conclusion.tree)
    for user in _users:
        for tags in (frozenset[str](), frozenset({"x"})):
            if rule.matches(user, tags=tags, now=NOW):
                assert not impossible
                assert not follows or conclusion.matches(user, tags=tags, now=NOW)
