"""From sqlglot's tree to ours: the whitelist, and the types of everything."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from sqlglot import exp

from audiences.rules.calls import call
from audiences.rules.patterns import pieces
from audiences.rules.render import UNITS, render
from audiences.rules.schema import Schema, Type
from audiences.rules.source import Source, closest
from audiences.rules.tree import (
    And,
    Arithmetic,
    Between,
    Compare,
    In,
    IsNull,
    IsTruth,
    Like,
    Literal,
    Name,
    Negative,
    Node,
    Not,
    Operator,
    Or,
    Ordering,
    Shift,
    type_of,
)
from audiences.rules.values import EPOCH

MAX_DEPTH = 100  # of the finished tree, which a long chain such as a + b + c + … makes deep
LONGEST_INTERVAL = 1_000_000 * UNITS["days"]

_ORDERINGS: dict[type[exp.Expr], Ordering] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_OPERATORS: dict[type[exp.Expr], Operator] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
}
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?\Z", re.ASCII
)
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_INTERVAL = re.compile(r"\s*([0-9]{1,18})\s+([A-Za-z]+)\s*\Z")


class Builder:
    """Turns sqlglot's nodes into ours, or says where and why not."""

    def __init__(self, source: Source, schema: Schema) -> None:
        self.source = source
        self.schema = schema
        self._depth = 0

    def rule(self, tree: exp.Expr) -> Node:
        """The whole rule, which must be a condition."""
        return self.condition(tree)

    def condition(self, tree: exp.Expr) -> Node:
        """A node that is true, false or unknown."""
        return self.typed(tree, {Type.BOOL}, "write a condition, for example orders_90d > 0")

    def number(self, tree: exp.Expr) -> Node:
        return self.typed(tree, {Type.NUMBER}, None)

    def typed(self, tree: exp.Expr, types: set[Type], suggestion: str | None) -> Node:
        """A node of one of some types; a bare NULL takes the first of them."""
        node = self.node(tree)
        if is_null(node):
            return Literal(None, min(types))
        if type_of(node) not in types:
            wanted = " or ".join(sorted(kind.phrase for kind in types))
            self.fail(tree, f"{render(node)} is {type_of(node).phrase}, not {wanted}", suggestion)
        return node

    def node(self, tree: exp.Expr) -> Node:
        """Any node of the language. Raises RuleError for one that isn't in it."""
        while isinstance(tree, exp.Paren):
            tree = tree.this
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.fail(tree, f"more than {MAX_DEPTH} operators deep", "make audiences of its parts")
        make = _MAKERS.get(type(tree))
        if make is None:
            self.fail(tree, f"{type(tree).__name__} is not part of the rule language")
        node = make(self, tree)
        self._depth -= 1
        return node

    def fail(self, tree: exp.Expr, message: str, suggestion: str | None = None) -> NoReturn:
        """Raises a RuleError that points at a node's first character."""
        starts = (part.meta["start"] for part in tree.walk() if "start" in part.meta)
        self.source.fail(min(starts, default=0), message, suggestion)

    def same_type(self, trees: list[exp.Expr]) -> list[Node]:
        """Nodes of one type; NULL takes the type of the others."""
        nodes = [self.node(tree) for tree in trees]
        known = [node for node in nodes if not is_null(node)]
        wanted = type_of(known[0]) if known else Type.TEXT
        for tree, node in zip(trees, nodes, strict=True):
            if not is_null(node) and type_of(node) is not wanted:
                self.fail(
                    tree,
                    f"{render(known[0])} is {wanted.phrase}, but {render(node)} is {type_of(node).phrase}",
                    _suggest_type(wanted, node),
                )
        return [Literal(None, wanted) if is_null(node) else node for node in nodes]

    def known_option(self, name: Node, constant: Node, written: exp.Expr) -> None:
        """Fails where a text that has a fixed set of values is compared with something else."""
        if not isinstance(name, Name) or not isinstance(constant, Literal):
            return
        options = self.schema.options.get(name.name)
        if options is not None and isinstance(constant.value, str) and constant.value not in options:
            self.fail(
                written,
                f"{render(name)} is never {render(constant)}",
                closest(constant.value, list(options)) or f"it is one of {', '.join(options)}",
            )


def is_null(node: Node) -> bool:
    """Whether a node is the constant NULL."""
    return isinstance(node, Literal) and node.value is None


def _suggest_type(wanted: Type, node: Node) -> str | None:
    if isinstance(node, Literal) and isinstance(node.value, str):
        if wanted is Type.TIMESTAMP:
            return f"write TIMESTAMP {render(node)}"
        if wanted is Type.NUMBER:
            return "write the number without quotes"
    if wanted is Type.TEXT and isinstance(node, Literal):
        return f"write '{render(node)}'"
    return None


def _name(builder: Builder, tree: exp.Expr) -> Node:
    name = ".".join(part.name for part in tree.parts) if isinstance(tree, exp.Column) else tree.name
    kind = builder.schema.names.get(name)
    if kind is None:
        builder.fail(tree, f'unknown feature "{name}"', closest(name, list(builder.schema.names)))
    return Name(name, kind)


def _literal(builder: Builder, tree: exp.Expr) -> Node:
    if tree.args["is_string"]:
        return Literal(tree.name, Type.TEXT)
    if not _NUMBER.match(tree.name):
        builder.fail(tree, f"{tree.name} is not a number")
    value = float(tree.name)
    if not math.isfinite(value):
        builder.fail(tree, f"{tree.name} is too large for a number")
    return Literal(value, Type.NUMBER)


def _timestamp(builder: Builder, tree: exp.Expr) -> Node:
    text = tree.this.name
    try:
        if not _TIMESTAMP.match(text):
            raise ValueError(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        builder.fail(tree, f"'{text}' is not a timestamp", "write TIMESTAMP '2026-01-31 18:00:00'")
    utc = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Literal((utc - EPOCH) // timedelta(microseconds=1), Type.TIMESTAMP)


def _negative(builder: Builder, tree: exp.Expr) -> Node:
    of = builder.number(tree.this)
    if isinstance(of, Literal) and isinstance(of.value, float):
        return Literal(-of.value, Type.NUMBER)
    return Negative(of)


def _arithmetic(builder: Builder, tree: exp.Expr) -> Node:
    if isinstance(tree.expression, exp.Interval) and isinstance(tree, exp.Add | exp.Sub):
        return _shift(builder, tree)
    operator = _OPERATORS[type(tree)]
    suggestion = (
        "write days_since(…) for the age of a timestamp, or timestamp - INTERVAL '30 days'"
        if operator in {"+", "-"}
        else None
    )
    left, right = (builder.typed(side, {Type.NUMBER}, suggestion) for side in (tree.this, tree.expression))
    return Arithmetic(operator, left, right)


def _shift(builder: Builder, tree: exp.Expr) -> Node:
    of = builder.typed(tree.this, {Type.TIMESTAMP}, "an interval is added to a timestamp")
    written = tree.expression.this.name
    found = _INTERVAL.match(written)
    unit = found[2].lower().rstrip("s") + "s" if found else ""
    if found is None or unit not in UNITS:
        known = ", ".join(UNITS)
        builder.fail(
            tree.expression, f"INTERVAL '{written}' has no fixed length", f"write one unit of {known}"
        )
    microseconds = int(found[1]) * UNITS[unit]
    if microseconds > LONGEST_INTERVAL:
        builder.fail(tree.expression, f"INTERVAL '{written}' is longer than 1,000,000 days")
    return Shift(of, -microseconds if isinstance(tree, exp.Sub) else microseconds)


def _interval(builder: Builder, tree: exp.Expr) -> Node:
    builder.fail(tree, "an interval stands only after + or -", "write now() - INTERVAL '30 days'")


def _compare(builder: Builder, tree: exp.Expr) -> Node:
    for side in (tree.this, tree.expression):
        if type(side) in _ORDERINGS:
            builder.fail(side, "comparisons can't be chained", "join them with AND, or set brackets")
    left, right = builder.same_type([tree.this, tree.expression])
    ordering = _ORDERINGS[type(tree)]
    kind = type_of(left)
    if kind.is_list:
        builder.fail(tree, "lists are not compared", f"write list_contains({render(left)}, …)")
    for name, constant, written in ((left, right, tree.expression), (right, left, tree.this)):
        builder.known_option(name, constant, written)
    if kind is Type.BOOL and ordering not in {"=", "<>"}:
        builder.fail(tree, f"conditions have no order, so {ordering} can't compare them", "write = or <>")
    return Compare(ordering, left, right)


def _junction(builder: Builder, tree: exp.Expr) -> Node:
    # A chain of thousands of ANDs is a tree as deep to the left: take it apart without recursion.
    kind = type(tree)
    sides: list[exp.Expr] = []
    pending = [tree]
    while pending:
        part = pending.pop()
        while isinstance(part, exp.Paren):
            part = part.this
        if type(part) is kind:
            pending += [part.expression, part.this]
        else:
            sides.append(part)
    parts = tuple(builder.condition(side) for side in sides)
    return And(parts) if kind is exp.And else Or(parts)


def _not(builder: Builder, tree: exp.Expr) -> Node:
    return Not(builder.condition(tree.this))


def _is(builder: Builder, tree: exp.Expr) -> Node:
    if isinstance(tree.expression, exp.Null):
        return IsNull(builder.node(tree.this))
    if isinstance(tree.expression, exp.Boolean):
        return IsTruth(builder.condition(tree.this), bool(tree.expression.this))
    builder.fail(tree.expression, "IS takes NULL, TRUE or FALSE", "write = to compare")


def _in(builder: Builder, tree: exp.Expr) -> Node:
    of, *options = builder.same_type([tree.this, *tree.expressions])
    if type_of(of) not in {Type.NUMBER, Type.TEXT, Type.TIMESTAMP}:
        builder.fail(tree, f"{render(of)} is {type_of(of).phrase}, which IN doesn't take")
    literals = [option for option in options if isinstance(option, Literal)]
    for written, option in zip(tree.expressions, options, strict=True):
        if not isinstance(option, Literal):
            builder.fail(written, f"{render(option)} is not a constant", "write = and OR")
        builder.known_option(of, option, written)
    return In(of, tuple(literals))


def _between(builder: Builder, tree: exp.Expr) -> Node:
    of, low, high = builder.same_type([tree.this, tree.args["low"], tree.args["high"]])
    if type_of(of) not in {Type.NUMBER, Type.TEXT, Type.TIMESTAMP}:
        builder.fail(tree, f"{render(of)} is {type_of(of).phrase}, which BETWEEN doesn't take")
    return Between(of, low, high)


def _like(builder: Builder, tree: exp.Expr) -> Node:
    escape = ""
    like = tree
    if isinstance(tree, exp.Escape):
        like = tree.this
        escape = tree.expression.name
        if len(escape) != 1 or not isinstance(like, exp.Like | exp.ILike):
            builder.fail(tree.expression, "ESCAPE takes one character", "write ESCAPE '!'")
    of = builder.typed(like.this, {Type.TEXT}, None)
    pattern = builder.node(like.expression)
    if not isinstance(pattern, Literal) or not (is_null(pattern) or isinstance(pattern.value, str)):
        builder.fail(like.expression, "a pattern is a text constant", "write LIKE 'abc%'")
    written = pattern.value if isinstance(pattern.value, str) else None
    try:
        pieces(written or "", escape)
    except ValueError as error:
        builder.fail(like.expression, str(error), "double it, or leave it out")
    test = Like(of, written, escape, isinstance(like, exp.ILike))
    return Not(test) if like.args.get("negate") else test


_MAKERS: dict[type[exp.Expr], Callable[[Builder, exp.Expr], Node]] = {
    exp.Column: _name,
    exp.Identifier: _name,
    exp.Literal: _literal,
    exp.Null: lambda builder, tree: Literal(None, Type.TEXT),
    exp.Boolean: lambda builder, tree: Literal(bool(tree.this), Type.BOOL),
    exp.Cast: _timestamp,
    exp.Interval: _interval,
    exp.Neg: _negative,
    exp.And: _junction,
    exp.Or: _junction,
    exp.Not: _not,
    exp.Is: _is,
    exp.In: _in,
    exp.Between: _between,
    exp.Like: _like,
    exp.ILike: _like,
    exp.Escape: _like,
    exp.Anonymous: call,
    **dict.fromkeys(_ORDERINGS, _compare),
    **dict.fromkeys(_OPERATORS, _arithmetic),
}
