"""A rule's tree evaluated as it stands, part by part, with three truths: True, False and None.

Slower than the compiled forms and independent of them: it explains an answer, and checks theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from audiences.rules import casing, functions
from audiences.rules.patterns import matcher
from audiences.rules.schema import Type
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
    type_of,
)
from audiences.rules.values import HELD, NAN, Held, clock, missing

_ORDERINGS: dict[str, Callable[..., bool]] = {
    "=": lambda left, right: bool(left == right),
    "<>": lambda left, right: bool(left != right),
    "<": lambda left, right: bool(left < right),
    "<=": lambda left, right: bool(left <= right),
    ">": lambda left, right: bool(left > right),
    ">=": lambda left, right: bool(left >= right),
}
_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": functions.divide,
    "%": functions.modulo,
}


@dataclass(frozen=True, slots=True)
class Person:
    """One user as rules see them: values held as `values` describes, tags, audiences, the moment."""

    held: Mapping[str, Held]
    tags: AbstractSet[str]
    audiences: AbstractSet[str]
    now: datetime | None

    @classmethod
    def of(
        cls,
        types: Mapping[str, Type],
        values: Mapping[str, object],
        tags: AbstractSet[str],
        audiences: AbstractSet[str],
        now: datetime | None,
    ) -> Person:
        """A user from plain values. Raises RuleValueError for one that doesn't fit its type."""
        held = {name: HELD[kind](name, values.get(name)) for name, kind in types.items()}
        return cls(held, tags, audiences, now)


def truth(node: Node, person: Person) -> bool | None:  # noqa: PLR0911 - a case, a return
    """The truth of a condition; None is unknown."""
    match node:
        case And(parts):
            return _all(truth(part, person) for part in parts)
        case Or(parts):
            return _not(_all(_not(truth(part, person)) for part in parts))
        case Not(of):
            return _not(truth(of, person))
        case IsNull(of):
            return value(of, person) is None
        case IsTruth(of, wanted):
            return truth(of, person) is wanted
        case Member(of, name):
            return name in (person.tags if of == "tag" else person.audiences)
        case Call(arguments=arguments):
            return next((known for part in arguments if (known := truth(part, person)) is not None), None)
        case Literal(given):
            return None if given is None else bool(given)
        case Name(name):
            held = person.held[name]
            return None if held is None else bool(held)
    return _test(node, person)


def value(node: Node, person: Person) -> Held:
    """The value of any node; None where it's NULL."""
    if type_of(node) is Type.BOOL:
        return truth(node, person)
    given = _value(node, person)
    return None if missing(given) else given


def _value(node: Node, person: Person) -> Held:  # noqa: PLR0911 - a case, a return
    match node:
        case Literal(given):
            return given
        case Name(name):
            return person.held[name]
        case Now():
            return clock(person.now)
        case Shift(of, microseconds):
            return _float(of, person) + microseconds
        case Negative(of):
            return -_float(of, person)
        case Arithmetic(operator, left, right):
            return _OPERATORS[operator](_float(left, person), _float(right, person))
        case Call():
            return _call(node, person)
    raise AssertionError(f"{node!r} is no value")


def _float(node: Node, person: Person) -> float:
    given = value(node, person)
    return given if isinstance(given, int | float) else NAN


def _call(node: Call, person: Person) -> Held:  # noqa: PLR0911 - a case, a return
    arguments = [value(argument, person) for argument in node.arguments]
    known = [argument for argument in arguments if argument is not None]
    if node.function == "coalesce":
        return known[0] if known else None
    if node.function in {"least", "greatest"}:
        choose: Callable[..., Held] = min if node.function == "least" else max
        return choose(known) if known else None
    if len(known) < len(arguments):
        return None
    match node.function, known:
        case "abs", [float(number)]:
            return abs(number)
        case "round", [float(number), *digits]:
            return functions.rounded(number, *(int(digit) for digit in digits if isinstance(digit, float)))
        case "length", [str(text)]:
            return float(len(text))
        case "lower", [str(text)]:
            return casing.lower(text)
        case "upper", [str(text)]:
            return casing.upper(text)
        case "days_since", [int(since)]:
            return functions.days_between(clock(person.now), since)
    raise AssertionError(f"{node!r} is no call")


def _test(node: Node, person: Person) -> bool | None:
    match node:
        case Compare(ordering, left, right):
            return _ordered(ordering, value(left, person), value(right, person))
        case Between(of, low, high):
            given = value(of, person)
            above = _ordered(">=", given, value(low, person))
            return _all((above, _ordered("<=", given, value(high, person))))
        case In(of, options):
            given = value(of, person)
            return _not(_all(_ordered("<>", given, option.value) for option in options))
        case Like(of, pattern, escape, fold):
            text = value(of, person)
            if not isinstance(text, str) or pattern is None:
                return None
            return matcher(pattern, escape, fold)(text)
        case Contains(items, element):
            held, wanted = value(items, person), value(element, person)
            return None if wanted is None or not isinstance(held, list) else wanted in held
    raise AssertionError(f"{node!r} is no condition")


def _ordered(ordering: str, left: Held, right: Held) -> bool | None:
    return None if left is None or right is None else _ORDERINGS[ordering](left, right)


def _not(known: bool | None) -> bool | None:
    return None if known is None else not known


def _all(truths: Iterable[bool | None]) -> bool | None:
    unknown = False
    for known in truths:
        if known is False:
            return False
        unknown = unknown or known is None
    return None if unknown else True
