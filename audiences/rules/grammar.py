"""sqlglot's DuckDB parser narrowed to conditions: no statements, subqueries, lambdas, windows, casts.

What is narrowed here is only the grammar; `build` still accepts nothing but the nodes it knows.
"""

from __future__ import annotations

from typing import NoReturn, TypeVar

from sqlglot import exp
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import Token, TokenType

from audiences.rules.errors import RuleError
from audiences.rules.source import DIALECT, TIMESTAMPS, Source

TOO_DEEP = "nested too deep to be read"

_E = TypeVar("_E", bound=exp.Expr)


class _Conditions(DuckDBParser):
    # With no function known, every call stays a call by its written name and position.
    FUNCTIONS = {}
    FUNCTION_PARSERS = {}
    NO_PAREN_FUNCTIONS = {}
    NO_PAREN_FUNCTION_PARSERS = {}

    def __init__(self, source: Source) -> None:
        super().__init__(dialect=DIALECT)
        self._source = source

    def raise_error(self, message: str, token: Token | None = None) -> NoReturn:
        here = token or self._curr
        text = self._source.text
        if here:
            self._source.fail(here.start, f"unexpected {text[here.start : here.end + 1]}")
        missing = '")"' if message.startswith("Expecting )") else "a value or a condition"
        self._source.fail(len(text.rstrip()), f"the rule ends where {missing} is missing")

    def expression(self, instance: _E, token: Token | None = None, comments: list[str] | None = None) -> _E:
        leaf = isinstance(instance, exp.Null | exp.Boolean)
        return super().expression(instance, self._prev if leaf and token is None else token, comments)

    def _parse_type(
        self, parse_interval: bool = True, fallback_to_identifier: bool = False
    ) -> exp.Expr | None:
        kind = self._curr.token_type
        if self._next.token_type is TokenType.STRING:
            if kind in TIMESTAMPS:
                return self._parse_timestamp()
            if kind is TokenType.INTERVAL:
                return self._parse_interval()
        return self._parse_column()

    def _parse_timestamp(self) -> exp.Cast:
        self._advance(2)
        text = exp.Literal.string(self._prev.text).update_positions(self._prev)
        return exp.Cast(this=text, to=exp.DataType(this=exp.DType.TIMESTAMP))

    def _parse_interval(
        self, require_interval: bool = True, parse_function_unit: bool = True
    ) -> exp.Interval:
        self._advance(2)
        return exp.Interval(this=exp.Literal.string(self._prev.text).update_positions(self._prev))

    def _parse_paren(self) -> exp.Expr | None:
        if not self._match(TokenType.L_PAREN):
            return None
        inside = self._parse_disjunction()
        if inside is None:
            self.raise_error("Expecting a condition")
        self._match_r_paren()
        return exp.Paren(this=inside)

    def _parse_function_args(self, alias: bool = False) -> list[exp.Expr]:
        if self._match(TokenType.R_PAREN, advance=False):
            return []
        return self._parse_list()

    def _parse_in(self, this: exp.Expr | None, alias: bool = False) -> exp.In:
        if not self._match(TokenType.L_PAREN):
            self.raise_error("Expecting (")
        options = self._parse_list()
        self._match_r_paren()
        return exp.In(this=this, expressions=options)

    def _parse_between(self, this: exp.Expr | None) -> exp.Between:
        low = self._parse_bitwise()
        if not self._match(TokenType.AND):
            self.raise_error("Expecting AND")
        between: exp.Between = self.expression(exp.Between(this=this, low=low, high=self._parse_bitwise()))
        return between

    def _parse_window(self, this: exp.Expr | None, alias: bool = False) -> exp.Expr | None:
        return this

    def _parse_list(self) -> list[exp.Expr]:
        found: list[exp.Expr] = []
        while True:
            element = self._parse_disjunction()
            if element is None:
                self.raise_error("Expecting a value")
            found.append(element)
            if not self._match(TokenType.COMMA):
                return found


def grammar(source: Source, tokens: list[Token]) -> exp.Expr:
    """sqlglot's tree of a rule. Raises RuleError where the text isn't a condition."""
    try:
        (tree,) = _Conditions(source).parse_into(exp.Condition, tokens, source.text)
    except RecursionError as error:
        raise RuleError(TOO_DEEP, suggestion="make audiences of its parts") from error
    if tree is None:
        source.fail(tokens[0].start, f"unexpected {tokens[0].text}")
    return tree
