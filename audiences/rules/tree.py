"""The whitelisted tree of a rule: everything a rule can be, and nothing else.

Values (number, text, timestamp, list) and truths (bool) are both nodes. Nodes are immutable and
compare by content, so equal parts of different rules are found by equality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal as OneOf

from audiences.rules.schema import Type

MICROSECONDS_A_DAY = 86_400_000_000

Ordering = OneOf["=", "<>", "<", "<=", ">", ">="]
Operator = OneOf["+", "-", "*", "/", "%"]

NEGATED: dict[Ordering, Ordering] = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


@dataclass(frozen=True, slots=True)
class Name:
    """A feature by its (dotted) name."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: float, str, bool, microseconds since 1970 for a timestamp, or None for NULL."""

    value: float | str | bool | int | None
    type: Type


@dataclass(frozen=True, slots=True)
class Now:
    """The moment of evaluation."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    operator: Operator
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negative:
    of: Node


@dataclass(frozen=True, slots=True)
class Shift:
    """A timestamp moved by a fixed number of microseconds."""

    of: Node
    microseconds: int


@dataclass(frozen=True, slots=True)
class Call:
    """abs, round, lower, upper, length, coalesce, least, greatest or days_since."""

    function: str
    arguments: tuple[Node, ...]
    type: Type


@dataclass(frozen=True, slots=True)
class Compare:
    ordering: Ordering
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    of: Node


@dataclass(frozen=True, slots=True)
class IsNull:
    of: Node


@dataclass(frozen=True, slots=True)
class IsTruth:
    """`of IS TRUE` or `of IS FALSE`: never unknown."""

    of: Node
    truth: bool


@dataclass(frozen=True, slots=True)
class In:
    of: Node
    options: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Between:
    of: Node
    low: Node
    high: Node


@dataclass(frozen=True, slots=True)
class Like:
    """A text against a literal pattern; `fold` ignores case, `escape` is one character or empty."""

    of: Node
    pattern: str | None
    escape: str
    fold: bool


@dataclass(frozen=True, slots=True)
class Contains:
    """Whether a list holds a value."""

    items: Node
    element: Node


@dataclass(frozen=True, slots=True)
class Member:
    """Whether the user has a tag or is in an audience: never unknown."""

    of: OneOf["tag", "audience"]
    name: str


Node = (
    Name
    | Literal
    | Now
    | Arithmetic
    | Negative
    | Shift
    | Call
    | Compare
    | And
    | Or
    | Not
    | IsNull
    | IsTruth
    | In
    | Between
    | Like
    | Contains
    | Member
)


def type_of(node: Node) -> Type:
    """Type of what a node gives."""
    match node:
        case Name() | Literal() | Call():
            return node.type
        case Now() | Shift():
            return Type.TIMESTAMP
        case Arithmetic() | Negative():
            return Type.NUMBER
        case _:
            return Type.BOOL


def children(node: Node) -> tuple[Node, ...]:  # noqa: PLR0911 - a case, a return
    """The nodes directly below a node, in the order of the text."""
    match node:
        case Arithmetic() | Compare():
            return (node.left, node.right)
        case Negative() | Shift() | Not() | IsNull() | IsTruth() | Like():
            return (node.of,)
        case In():
            return (node.of, *node.options)
        case Between():
            return (node.of, node.low, node.high)
        case Contains():
            return (node.items, node.element)
        case Call():
            return node.arguments
        case And() | Or():
            return node.parts
        case _:
            return ()
