"""Values and tests on values as Python expressions, for the one-user function.

Numbers and timestamps are NaN when missing, so a comparison is false of itself; text is None.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from audiences.rules import casing, functions
from audiences.rules.forms import Among, Entry, Holding, Holds, Matches
from audiences.rules.patterns import ANY_RUN, matcher, pieces
from audiences.rules.schema import Type
from audiences.rules.tree import (
    Arithmetic,
    Call,
    Literal,
    Name,
    Negative,
    Node,
    Now,
    Ordering,
    Shift,
    type_of,
)

_ORDERINGS: dict[Ordering, ast.cmpop] = {
    "=": ast.Eq(),
    "<>": ast.NotEq(),
    "<": ast.Lt(),
    "<=": ast.LtE(),
    ">": ast.Gt(),
    ">=": ast.GtE(),
}
_PLAIN_OPERATORS: dict[str, ast.operator] = {"+": ast.Add(), "-": ast.Sub(), "*": ast.Mult()}
_FLOATING = {Type.NUMBER, Type.TIMESTAMP}


class Terms:
    """Expressions of values; those needed twice are assigned once, in `statements`."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.statements: list[ast.stmt] = []
        self.namespace: dict[str, object] = {
            "NAN": functions.NAN,
            "divide": functions.divide,
            "modulo": functions.modulo,
            "rounded": functions.rounded,
            "days_between": functions.days_between,
            "lower": casing.lower,
            "upper": casing.upper,
            **{
                f"{name}_{'text' if text else 'number'}": chosen
                for (name, text), chosen in functions.CHOOSE.items()
            },
        }
        self._variables = variables
        self._assigned: dict[Node, ast.expr] = {}

    def term(self, node: Node) -> ast.expr:  # noqa: PLR0911 - a case, a return
        """Expression of a value."""
        match node:
            case Name(name):
                return _load(self._variables[name])
            case Literal(value, kind):
                return ast.Constant(functions.NAN if value is None and kind in _FLOATING else value)
            case Now():
                return _load("now")
            case Negative(of):
                return ast.UnaryOp(ast.USub(), self.term(of))
            case Shift(of, microseconds):
                return ast.BinOp(self.term(of), ast.Add(), ast.Constant(microseconds))
            case Arithmetic():
                return self._arithmetic(node)
            case Call():
                return self._call(node)
        raise AssertionError(f"{node!r} is no value")

    def missing(self, node: Node) -> ast.expr:
        """Whether a value is NULL."""
        value = self._simple(node)
        if type_of(node) in _FLOATING:
            return ast.Compare(value, [ast.NotEq()], [value])
        return ast.Compare(value, [ast.Is()], [ast.Constant(None)])

    def test(self, entry: Entry) -> ast.expr:
        """Expression of an entry that compares values."""
        match entry:
            case Holds():
                return self._holds(entry)
            case Among(of, options, inside):
                value = self._simple(of)
                operator = ast.In() if inside else ast.NotIn()
                among = ast.Compare(value, [operator], [_constants(options)])
                return among if inside else self._present([of], among)
            case Matches():
                return self._matches(entry)
            case Holding(items, element, inside):
                operator = ast.In() if inside else ast.NotIn()
                holding = ast.Compare(self._simple(element), [operator], [self._simple(items)])
                return self._present([items, element], holding)
        raise AssertionError(f"{entry!r} is no test")

    def _simple(self, node: Node) -> ast.expr:
        expression = self.term(node)
        if isinstance(expression, ast.Name | ast.Constant):
            return expression
        if node not in self._assigned:
            target = f"t{len(self._assigned)}"
            self._assigned[node] = _load(target)
            self.statements.append(ast.Assign([ast.Name(target, ast.Store())], expression))
        return self._assigned[node]

    def _present(self, nodes: list[Node], test: ast.expr) -> ast.expr:
        checks: list[ast.expr] = []
        for node in nodes:
            value = self._simple(node)
            if isinstance(value, ast.Constant):
                if value.value is None or value.value != value.value:
                    return ast.Constant(False)
            elif type_of(node) in _FLOATING:
                checks.append(ast.Compare(value, [ast.Eq()], [value]))
            else:
                checks.append(ast.Compare(value, [ast.IsNot()], [ast.Constant(None)]))
        return ast.BoolOp(ast.And(), [*checks, test]) if checks else test

    def _holds(self, entry: Holds) -> ast.expr:
        operator = _ORDERINGS[entry.ordering]
        if type_of(entry.left) in _FLOATING:
            if entry.ordering != "<>":
                return ast.Compare(self.term(entry.left), [operator], [self.term(entry.right)])
            left, right = self._simple(entry.left), self._simple(entry.right)
            below, above = (ast.Compare(left, [side], [right]) for side in (ast.Lt(), ast.Gt()))
            return ast.BoolOp(ast.Or(), [below, above])
        left, right = self._simple(entry.left), self._simple(entry.right)
        test = ast.Compare(left, [operator], [right])
        if entry.ordering == "=" and isinstance(right, ast.Constant) and right.value is not None:
            return test
        return self._present([entry.left, entry.right], test)

    def _matches(self, entry: Matches) -> ast.expr:
        value = self._simple(entry.of)
        test = self._matching(entry, value)
        return self._present([entry.of], test if entry.inside else ast.UnaryOp(ast.Not(), test))

    def _matching(self, entry: Matches, value: ast.expr) -> ast.expr:
        parts = pieces(entry.pattern, entry.escape)
        if not entry.fold:
            head = bool(parts) and parts[0] == (True, ANY_RUN)
            tail = len(parts) > head and parts[-1] == (True, ANY_RUN)
            middle = parts[head : len(parts) - tail]
            if not any(wild for wild, _ in middle):
                return _plain_match(value, "".join(text for _, text in middle), head, tail)
        name = f"match{len(self.namespace)}"
        self.namespace[name] = matcher(entry.pattern, entry.escape, entry.fold)
        return _apply(name, value)

    def _arithmetic(self, node: Arithmetic) -> ast.expr:
        if node.operator in _PLAIN_OPERATORS:
            operator = _PLAIN_OPERATORS[node.operator]
            return ast.BinOp(self.term(node.left), operator, self.term(node.right))
        if node.operator == "%":
            return _apply("modulo", self.term(node.left), self.term(node.right))
        if isinstance(node.right, Literal) and node.right.value:
            return ast.BinOp(self.term(node.left), ast.Div(), self.term(node.right))
        return _apply("divide", self.term(node.left), self.term(node.right))

    def _call(self, node: Call) -> ast.expr:
        match node.function:
            case "coalesce":
                return self._coalesce(node.arguments)
            case "abs":
                return _apply("abs", self.term(node.arguments[0]))
            case "days_since":
                return _apply("days_between", _load("now"), self.term(node.arguments[0]))
            case "round":
                digits = [
                    ast.Constant(int(given.value))
                    for given in node.arguments[1:]
                    if isinstance(given, Literal) and isinstance(given.value, float)
                ]
                return _apply("rounded", self.term(node.arguments[0]), *digits)
            case "least" | "greatest":
                kind = "text" if node.type is Type.TEXT else "number"
                return _apply(f"{node.function}_{kind}", *map(self.term, node.arguments))
        return self._of_text(node)

    def _of_text(self, node: Call) -> ast.expr:
        value = self._simple(node.arguments[0])
        absent = ast.Constant(functions.NAN if node.function == "length" else None)
        given = (
            _apply("float", _apply("len", value))
            if node.function == "length"
            else _apply(node.function, value)
        )
        return ast.IfExp(ast.Compare(value, [ast.Is()], [ast.Constant(None)]), absent, given)

    def _coalesce(self, arguments: tuple[Node, ...]) -> ast.expr:
        expression = self.term(arguments[-1])
        for argument in reversed(arguments[:-1]):
            expression = ast.IfExp(self.missing(argument), expression, self._simple(argument))
        return expression


def _plain_match(value: ast.expr, text: str, head: bool, tail: bool) -> ast.expr:
    constant = ast.Constant(text)
    if head and tail:
        return ast.Compare(constant, [ast.In()], [value])
    if head or tail:
        method = "endswith" if head else "startswith"
        return ast.Call(ast.Attribute(value, method, ast.Load()), [constant], [])
    return ast.Compare(value, [ast.Eq()], [constant])


def _constants(options: tuple[float | str | int, ...]) -> ast.Constant:
    return ast.Constant(frozenset(options))  # type: ignore[arg-type] # the compiler takes frozensets


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _apply(function: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(_load(function), list(arguments), [])
