"""Calls: which functions a rule may call, with what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from audiences.rules.functions import MAX_ROUND_DIGITS, SIGNATURES
from audiences.rules.render import render
from audiences.rules.schema import Type
from audiences.rules.source import closest
from audiences.rules.tree import Call, Contains, Literal, Member, Node, Now, type_of

if TYPE_CHECKING:
    from sqlglot import exp

    from audiences.rules.build import Builder

_CHOOSABLE = {Type.NUMBER, Type.TEXT, Type.TIMESTAMP}


def call(builder: Builder, tree: exp.Expr) -> Node:
    """A call of the whitelist. Raises RuleError for any other, or for arguments that don't fit."""
    function = tree.name.lower()
    signature = SIGNATURES.get(function)
    if signature is None:
        builder.fail(tree, f'unknown function "{tree.name}"', closest(function, list(SIGNATURES)))
    count = len(tree.expressions)
    if not signature.least <= count <= signature.most:
        builder.fail(tree, f"{function} doesn't take {count} arguments", f"write {signature.usage}")
    return _MAKERS[function](builder, tree, function)


def _member(builder: Builder, tree: exp.Expr, function: str) -> Node:
    is_tag = function == "tag"
    known = builder.schema.tags if is_tag else builder.schema.audiences
    if known is False:
        builder.fail(tree, f"{function} can't be used in this rule")
    written = builder.node(tree.expressions[0])
    if not isinstance(written, Literal) or not isinstance(written.value, str):
        builder.fail(tree.expressions[0], f"{function} takes a name in quotes", f"write {function}('name')")
    if not isinstance(known, bool) and written.value not in known:
        message = f'unknown audience "{written.value}"'
        builder.fail(tree.expressions[0], message, closest(written.value, sorted(known)))
    return Member("tag" if is_tag else "audience", written.value)


def _fixed(takes: Type, gives: Type) -> Callable[[Builder, exp.Expr, str], Node]:
    def make(builder: Builder, tree: exp.Expr, function: str) -> Node:
        argument = builder.typed(tree.expressions[0], {takes}, f"write {SIGNATURES[function].usage}")
        return Call(function, (argument,), gives)

    return make


def _round(builder: Builder, tree: exp.Expr, function: str) -> Node:
    arguments = [builder.number(tree.expressions[0])]
    for written in tree.expressions[1:]:
        digits = builder.number(written)
        fits = (
            isinstance(digits, Literal)
            and isinstance(digits.value, float)
            and digits.value.is_integer()
            and abs(digits.value) <= MAX_ROUND_DIGITS
        )
        if not fits:
            builder.fail(written, f"digits are a whole number up to {MAX_ROUND_DIGITS}")
        arguments.append(digits)
    return Call(function, tuple(arguments), Type.NUMBER)


def _choose(builder: Builder, tree: exp.Expr, function: str) -> Node:
    arguments = builder.same_type(tree.expressions)
    kind = type_of(arguments[0])
    allowed = _CHOOSABLE | {Type.BOOL} if function == "coalesce" else _CHOOSABLE
    if kind not in allowed:
        builder.fail(tree, f"{render(arguments[0])} is {kind.phrase}, which {function} doesn't take")
    return Call(function, tuple(arguments), kind)


def _list_contains(builder: Builder, tree: exp.Expr, function: str) -> Node:
    written, element = tree.expressions
    items = builder.node(written)
    if not type_of(items).is_list:
        builder.fail(written, f"{render(items)} is {type_of(items).phrase}, not a list", "write = to compare")
    return Contains(items, builder.typed(element, {type_of(items).element}, None))


_MAKERS: dict[str, Callable[[Builder, exp.Expr, str], Node]] = {
    "tag": _member,
    "in_audience": _member,
    "abs": _fixed(Type.NUMBER, Type.NUMBER),
    "round": _round,
    "lower": _fixed(Type.TEXT, Type.TEXT),
    "upper": _fixed(Type.TEXT, Type.TEXT),
    "length": _fixed(Type.TEXT, Type.NUMBER),
    "coalesce": _choose,
    "least": _choose,
    "greatest": _choose,
    "list_contains": _list_contains,
    "now": lambda builder, tree, function: Now(),
    "days_since": _fixed(Type.TIMESTAMP, Type.NUMBER),
}
