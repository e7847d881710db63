"""The canonical text of a rule: parsing it gives the same tree again."""

from __future__ import annotations

import re
from datetime import timedelta

from sqlglot.tokenizer_core import TokenType

from audiences.rules.schema import Type
from audiences.rules.source import DIALECT
from audiences.rules.tree import (
    And,
    Arithmetic,
    Between,
    Call,
    Compare,
    Contains,
    In,
    IsNull,
    IsTruth,
    Like,
    Literal,
    Member,
    Name,
    Negative,
    Node,
    Not,
    Now,
    Or,
    Shift,
)
from audiences.rules.values import EPOCH

UNITS = {
    "weeks": 604_800_000_000,
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
    "milliseconds": 1_000,
    "microseconds": 1,
}
_SUMS = (Arithmetic, Shift)
_CONDITIONS = (And, Or, Not, Compare, In, Between, Like, IsNull, IsTruth)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def render(node: Node) -> str:  # noqa: PLR0911 - a case, a return
    """Text of a node, with the brackets it needs and those that save a reader from precedence."""
    match node:
        case Name() | Literal() | Now() | Call() | Contains() | Member():
            return _closed(node)
        case And(parts):
            return " AND ".join(_bracketed(part, And, Or) for part in parts)
        case Or(parts):
            return " OR ".join(_bracketed(part, And, Or) for part in parts)
        case Not(In() | Between() | Like() | IsNull() | IsTruth() as test):
            return _test(test, "NOT ")
        case Not(of):
            return f"NOT {_bracketed(of, *_CONDITIONS)}"
        case In() | Between() | Like() | IsNull() | IsTruth():
            return _test(node, "")
        case Compare(ordering, left, right):
            return f"{_operand(left)} {ordering} {_operand(right)}"
        case _:
            return _computed(node)


def literal(node: Literal) -> str:
    """Text of a constant."""
    value = node.value
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return quoted(value)
    if node.type is Type.TIMESTAMP:
        moment = EPOCH + timedelta(microseconds=int(value))
        return f"TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S}" + (
            f".{moment.microsecond:06d}'" if moment.microsecond else "'"
        )
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def quoted(text: str) -> str:
    """A text constant."""
    return "'" + text.replace("'", "''") + "'"


def _closed(node: Node) -> str:
    match node:
        case Literal():
            return literal(node)
        case Name(name):
            return ".".join(map(_part, name.split(".")))
        case Call(function, arguments):
            return f"{function}({', '.join(map(render, arguments))})"
        case Contains(items, element):
            return f"list_contains({render(items)}, {render(element)})"
        case Member(of, name):
            return f"{'tag' if of == 'tag' else 'in_audience'}({quoted(name)})"
        case _:
            return "now()"


def _computed(node: Node) -> str:
    match node:
        case Arithmetic("+" | "-" as operator, left, right):
            return f"{_operand(left)} {operator} {_bracketed(right, *_SUMS)}"
        case Arithmetic(operator, left, right):
            factor = left if not isinstance(left, Arithmetic) or left.operator in {"+", "-"} else None
            shown = render(left) if factor is None else _bracketed(factor, *_SUMS)
            return f"{shown} {operator} {_bracketed(right, *_SUMS)}"
        case Negative(of):
            return f"-({render(of)})"
        case Shift(of, microseconds):
            unit, size = next((unit, size) for unit, size in UNITS.items() if microseconds % size == 0)
            sign = "-" if microseconds < 0 else "+"
            return f"{render(of)} {sign} INTERVAL '{abs(microseconds) // size} {unit}'"
    raise AssertionError(f"no text for {node!r}")


def _test(node: In | Between | Like | IsNull | IsTruth, negation: str) -> str:
    of = _operand(node.of)
    match node:
        case In(options=options):
            return f"{of} {negation}IN ({', '.join(map(literal, options))})"
        case Between(low=low, high=high):
            return f"{of} {negation}BETWEEN {_operand(low)} AND {_operand(high)}"
        case Like(pattern=pattern, escape=escape, fold=fold):
            shown = "NULL" if pattern is None else quoted(pattern)
            tail = f" ESCAPE {quoted(escape)}" if escape else ""
            return f"{of} {negation}{'ILIKE' if fold else 'LIKE'} {shown}{tail}"
        case IsNull():
            return f"{of} IS {negation}NULL"
        case IsTruth(truth=truth):
            return f"{of} IS {negation}{'TRUE' if truth else 'FALSE'}"


def _operand(node: Node) -> str:
    return _bracketed(node, *_CONDITIONS)


def _bracketed(node: Node, *kinds: type) -> str:
    return f"({render(node)})" if isinstance(node, kinds) else render(node)


def _part(part: str) -> str:
    if _PLAIN.match(part):
        (token,) = DIALECT.tokenize(part)
        if token.token_type is TokenType.VAR:
            return part
    return '"' + part.replace('"', '""') + '"'
