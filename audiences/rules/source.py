"""The text of a rule as tokens, each known to be in the language, none nested too deep.

Everything that could make the parser recurse without end or leave the language is refused here,
before it parses.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import NoReturn

from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from audiences.rules.errors import RuleError
from audiences.rules.functions import SIGNATURES
from audiences.rules.schema import Schema

MAX_CHARACTERS = 20_000
MAX_NESTING = 32  # levels of ( ), NOT and signs; each costs the parser some twenty Python frames

DIALECT = DuckDB()

_SIGNS = {TokenType.DASH, TokenType.PLUS}
_SYMBOLS = _SIGNS | {
    TokenType.L_PAREN,
    TokenType.R_PAREN,
    TokenType.COMMA,
    TokenType.DOT,
    TokenType.STAR,
    TokenType.SLASH,
    TokenType.MOD,
    TokenType.LT,
    TokenType.LTE,
    TokenType.GT,
    TokenType.GTE,
    TokenType.EQ,
    TokenType.NEQ,
}
_CONSTANTS = {TokenType.STRING, TokenType.NUMBER, TokenType.NULL, TokenType.TRUE, TokenType.FALSE}
TIMESTAMPS = {TokenType.TIMESTAMP, TokenType.TIMESTAMPNTZ, TokenType.TIMESTAMPTZ}
_WORDS = TIMESTAMPS | {
    TokenType.AND,
    TokenType.OR,
    TokenType.NOT,
    TokenType.IS,
    TokenType.IN,
    TokenType.BETWEEN,
    TokenType.LIKE,
    TokenType.ILIKE,
    TokenType.ESCAPE,
    TokenType.INTERVAL,
}
_IDENTIFIERS = {TokenType.VAR, TokenType.IDENTIFIER}
_ALLOWED = _SYMBOLS | _CONSTANTS | _WORDS | _IDENTIFIERS

_INSTEAD = {
    TokenType.CASE: "write the cases with AND and OR",
    TokenType.DCOLON: "there are no casts; features have their types already",
    TokenType.SEMICOLON: "a rule is one condition, without a semicolon",
    TokenType.DPIPE: "text can't be joined; compare its parts",
    TokenType.DATE: "write TIMESTAMP '2026-01-31'",
    TokenType.DISTINCT: "write = together with IS NULL",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A rule's text, and errors that point into it by character offset."""

    text: str

    def error(self, offset: int, message: str, suggestion: str | None = None) -> RuleError:
        """A RuleError at an offset; line and column count from 1."""
        before = self.text[:offset]
        line = before.count("\n") + 1
        column = offset - (before.rfind("\n") + 1) + 1
        return RuleError(message, line=line, column=column, suggestion=suggestion)

    def fail(self, offset: int, message: str, suggestion: str | None = None) -> NoReturn:
        raise self.error(offset, message, suggestion)


def closest(word: str, words: list[str]) -> str | None:
    """`did you mean "…"?` for the nearest of some words, case aside; None if none is near."""
    by_folded = {known.casefold(): known for known in words}
    near = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f'did you mean "{by_folded[near[0]]}"?' if near else None


def tokens(source: Source, schema: Schema) -> list[Token]:
    """The tokens of a rule. Raises RuleError for text, comments, nesting or words out of the language."""
    text = source.text
    if len(text) > MAX_CHARACTERS:
        source.fail(
            MAX_CHARACTERS,
            f"the rule has {len(text):,} characters, more than {MAX_CHARACTERS:,}",
            "make audiences of its parts and join them with in_audience('…')",
        )
    if not text.strip():
        source.fail(0, "the rule is empty", "write a condition, for example orders_90d > 0")
    try:
        found = DIALECT.tokenize(text)
    except TokenError:
        source.fail(_unclosed(text), "this is never closed", "close it, and double a quote that is meant")
    _refuse_comments(source, found)
    _refuse_depth(source, found)
    known = {part for name in schema.names for part in name.split(".")}
    for position, token in enumerate(found):
        if token.token_type not in _ALLOWED and not _is_name(found, position, known):
            _refuse(source, token, schema)
    return found


def _unclosed(text: str) -> int:
    """Offset of the quote or comment that is never closed."""
    offset = 0
    while offset < len(text):
        if text[offset] in "'\"":
            end = text.find(text[offset], offset + 1)
            if end < 0:
                return offset
            offset = end
        elif text.startswith("/*", offset):
            end = text.find("*/", offset + 2)
            if end < 0:
                return offset
            offset = end + 1
        offset += 1
    return 0


def _refuse_comments(source: Source, found: list[Token]) -> None:
    # Whatever the tokenizer passed over between two tokens and isn't white space was a comment.
    edges = [0, *(token.end + 1 for token in found)]
    starts = [*(token.start for token in found), len(source.text)]
    for edge, start in zip(edges, starts, strict=True):
        gap = source.text[edge:start]
        if gap.strip():
            offset = edge + len(gap) - len(gap.lstrip())
            source.fail(offset, "comments are not part of a rule", "put the remark in the description")


def _refuse_depth(source: Source, found: list[Token]) -> None:
    levels = [0]
    depth = 0
    operand_before = False
    for token in found:
        kind = token.token_type
        if kind is TokenType.NOT or (kind in _SIGNS and not operand_before):
            levels[-1] += 1
            depth += 1
        elif kind is TokenType.L_PAREN:
            levels.append(0)
            depth += 1
        elif kind is TokenType.R_PAREN:
            if len(levels) == 1:
                source.fail(token.start, 'this ")" closes nothing', "remove it or open it before")
            depth -= levels.pop() + 1
        operand_before = kind not in _SYMBOLS - {TokenType.R_PAREN} and kind not in _WORDS
        if operand_before:
            depth -= levels[-1]
            levels[-1] = 0
        if depth > MAX_NESTING:
            source.fail(
                token.start,
                f"nested more than {MAX_NESTING} levels deep",
                "make audiences of its parts and join them with in_audience('…')",
            )


def _is_name(found: list[Token], position: int, known: set[str]) -> bool:
    # SQL has hundreds of words that are good names of features (date, rank, value): the schema decides.
    return found[position].text in known


def _refuse(source: Source, token: Token, schema: Schema) -> NoReturn:
    words = [*schema.names, *SIGNATURES]
    suggestion = _INSTEAD.get(token.token_type) or closest(token.text, words)
    shown = source.text[token.start : token.end + 1]
    source.fail(token.start, f"{shown} is not part of the rule language", suggestion)
