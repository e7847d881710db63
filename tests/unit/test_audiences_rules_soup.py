"""Whatever the text, `parse` gives a rule or a RuleError that points into it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from audiences.rules import Rule, RuleError, Schema, Type, compile_one, parse

SCHEMA = Schema(
    {
        "n": Type.NUMBER,
        "t": Type.TEXT,
        "b": Type.BOOL,
        "d": Type.TIMESTAMP,
        "l": Type.TEXTS,
        "date": Type.TEXT,
    }
)
WORDS = r"""
    n t b d l date x AND OR NOT IS NULL TRUE FALSE IN BETWEEN LIKE ILIKE ESCAPE TIMESTAMP INTERVAL now() tag
    abs round coalesce list_contains days_since lower ( ) ( ) , , . + - * / % = <> < >= 1 2.5 1e400 .5 1_0
    0x1F 'a' '' '2026-01-01' '!' "n" SELECT CASE END OVER DISTINCT FROM UNION VALUES EXISTS ANY ALL CAST AS
    INT :: ; ? $1 :p @v [ ] { } || -> ~ ^ & | # -- /* */ ` \ ' " e'x' $$ $a$ x'00' b'1' U&'a' {{ }} é 👍 ² ٣
"""
PIECES = (*WORDS.split(), "'3 days'", '"a b"', "\n", "\t", "\0", "\ufeff")


def read(text: str) -> Rule | None:
    try:
        return parse(text, SCHEMA)
    except RuleError as refused:
        error = refused
    lines = text.split("\n")
    assert 1 <= error.line <= len(lines)
    assert 1 <= error.column <= len(lines[error.line - 1]) + 1
    return None


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(["", " "]))
def test_soup_of_pieces(pieces: list[str], between: str) -> None:
    rule = read(between.join(pieces))
    if rule is not None:
        assert parse(str(rule), SCHEMA) == rule
        if not rule.uses_now:
            assert compile_one([rule])({}) == [rule.matches({})]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_characters(text: str) -> None:
    read(text)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PIECES), st.sampled_from(PIECES), st.integers(1, 3_000), st.sampled_from(["", " "]))
def test_repetition(first: str, second: str, times: int, between: str) -> None:
    read(between.join([first, second] * times)[:20_001])
