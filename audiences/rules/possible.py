"""What values the terms of a rule can still have after some tests: intervals, sets, presence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from audiences.rules.forms import Always, Among, Entry, Flag, Holding, Holds, Matches, Missing
from audiences.rules.schema import Type
from audiences.rules.tree import Literal, Member, Node, Ordering, type_of

_Value = float | int | str | bool
_ORDERED = frozenset((Type.NUMBER, Type.TIMESTAMP))
_LESS, _EQUAL, _MORE = "less", "equal", "more"
_WAYS: dict[Ordering, frozenset[str]] = {
    "=": frozenset((_EQUAL,)),
    "<>": frozenset((_LESS, _MORE)),
    "<": frozenset((_LESS,)),
    "<=": frozenset((_LESS, _EQUAL)),
    ">": frozenset((_MORE,)),
    ">=": frozenset((_MORE, _EQUAL)),
}


@dataclass(slots=True)
class _Values:
    """The values of one term: between two bounds, among `only` if that is given, and none of `never`."""

    low: float = -math.inf
    low_open: bool = False
    high: float = math.inf
    high_open: bool = False
    only: frozenset[_Value] | None = None
    never: frozenset[_Value] = frozenset()

    def empty(self) -> bool:
        if self.only is not None:
            return not any(self.has(value) for value in self.only)
        if self.low == self.high:
            return self.low_open or self.high_open or self.low in self.never
        return self.low > self.high

    def has(self, value: _Value) -> bool:
        if value in self.never:
            return False
        if isinstance(value, str):
            return True
        above = value > self.low or (value == self.low and not self.low_open)
        below = value < self.high or (value == self.high and not self.high_open)
        return above and below

    def at_least(self, value: float, *, open_: bool) -> None:
        self.low, self.low_open = max((self.low, self.low_open), (value, open_))

    def at_most(self, value: float, *, open_: bool) -> None:
        if value < self.high or (value == self.high and open_):
            self.high, self.high_open = value, open_

    def among(self, options: Iterable[_Value]) -> None:
        self.only = frozenset(options) if self.only is None else self.only & frozenset(options)


@dataclass(slots=True)
class Possible:
    """What some tests leave possible."""

    _values: dict[Node, _Values] = field(default_factory=dict)
    _there: dict[Node, bool] = field(default_factory=dict)
    _facts: dict[object, bool] = field(default_factory=dict)
    _orders: dict[tuple[Node, Node], frozenset[str]] = field(default_factory=dict)

    def copy(self) -> Possible:
        """Return the same, to be narrowed apart."""
        values = {
            node: _Values(one.low, one.low_open, one.high, one.high_open, one.only, one.never)
            for node, one in self._values.items()
        }
        return Possible(values, dict(self._there), dict(self._facts), dict(self._orders))

    def narrow(self, entry: Entry, wanted: bool) -> bool:  # noqa: PLR0911 - a case, a return
        """Take a test in; False when nothing is possible any more. Only some tests may be unwanted."""
        match entry:
            case Always(answer):
                return answer is wanted
            case Member():
                return self._is(entry, wanted)
            case Missing(of):
                return self._present(of, not wanted)
            case Flag(of, truth):
                return self._present(of, True) and self._is(of, truth)
            case Among(of, options, inside):
                return self._present(of, True) and self._among(of, options, inside)
            case Matches(of, pattern, escape, fold, inside):
                return self._present(of, True) and self._is((of, pattern, escape, fold), inside)
            case Holding(items, element, inside):
                here = self._present(items, True) and self._present(element, True)
                return here and self._is((items, element), inside)
            case Holds(ordering, left, right):
                here = self._present(left, True) and self._present(right, True)
                return here and self._compared(ordering, left, right)
        return True

    def _is(self, what: object, truth: bool) -> bool:
        return self._facts.setdefault(what, truth) is truth

    def _present(self, of: Node, there: bool) -> bool:
        if isinstance(of, Literal):
            return (of.value is not None) is there
        return self._there.setdefault(of, there) is there

    def _of(self, node: Node) -> _Values:
        if node not in self._values:
            value = node.value if isinstance(node, Literal) else None
            self._values[node] = _Values(only=None if value is None else frozenset((value,)))
        return self._values[node]

    def _among(self, of: Node, options: Iterable[_Value], inside: bool) -> bool:
        values = self._of(of)
        if inside:
            values.among(options)
        else:
            values.never |= frozenset(options)
        return not values.empty()

    def _compared(self, ordering: Ordering, left: Node, right: Node) -> bool:
        if isinstance(right, Literal) and right.value is not None:
            return self._against(ordering, left, right.value)
        ways = _WAYS[ordering] & ({_EQUAL} if left == right else _WAYS["<>"] | {_EQUAL})
        known = self._orders.get((left, right), ways) & ways
        self._orders[left, right] = known
        turned = {_LESS: _MORE, _MORE: _LESS, _EQUAL: _EQUAL}
        mirrored = self._orders.get((right, left))
        return bool(known if mirrored is None else known & {turned[way] for way in mirrored})

    def _against(self, ordering: Ordering, of: Node, value: _Value) -> bool:
        if ordering in ("=", "<>"):
            return self._among(of, (value,), ordering == "=")
        if type_of(of) not in _ORDERED or isinstance(value, str | bool):
            return True
        values = self._of(of)
        if ordering in (">", ">="):
            values.at_least(value, open_=ordering == ">")
        else:
            values.at_most(value, open_=ordering == "<")
        return not values.empty()
