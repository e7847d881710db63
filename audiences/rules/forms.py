"""Three-valued logic as two two-valued forms: "is true" and "is false".

A truth that may be unknown is asked two questions with plain answers. `Forms` holds the questions of
many rules as one table of entries; equal ones share an entry, so each is answered once however
many rules ask it, and every entry refers only to earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audiences.rules.schema import Type
from audiences.rules.tree import (
    NEGATED,
    And,
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
    Node,
    Not,
    Or,
    Ordering,
    type_of,
)

_MIRRORED: dict[Ordering, Ordering] = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Always:
    answer: bool


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Any:
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Flip:
    """The opposite of another entry."""

    part: int


@dataclass(frozen=True, slots=True)
class Holds:
    """Both sides are there and compare so."""

    ordering: Ordering
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Among:
    """The value is there, and is (or with `inside` false: isn't) one of some constants."""

    of: Node
    options: tuple[float | str | int, ...]
    inside: bool


@dataclass(frozen=True, slots=True)
class Matches:
    """The text is there, and matches (or doesn't match) a LIKE pattern."""

    of: Node
    pattern: str
    escape: str
    fold: bool
    inside: bool


@dataclass(frozen=True, slots=True)
class Holding:
    """List and element are there, and the list has (or hasn't) the element."""

    items: Node
    element: Node
    inside: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """The value is NULL."""

    of: Node


@dataclass(frozen=True, slots=True)
class Flag:
    """A bool feature is there and has this truth."""

    of: Name
    truth: bool


Entry = Always | All | Any | Flip | Holds | Among | Matches | Holding | Missing | Flag | Member


class Forms:
    """Entries of many conditions; `entries[i]` refers only to entries before `i`."""

    def __init__(self, conditions: Sequence[Node]) -> None:
        self.entries: list[Entry] = []
        self._places: dict[Entry, int] = {}
        self._asked: dict[tuple[Node, bool], int] = {}
        self.roots = [self._form(condition, True) for condition in conditions]

    def uses(self) -> list[int]:
        """How often each entry is referred to, by entries and as a root."""
        counts = [0] * len(self.entries)
        for entry in self.entries:
            parts = entry.parts if isinstance(entry, All | Any) else ()
            for part in (entry.part,) if isinstance(entry, Flip) else parts:
                counts[part] += 1
        for root in self.roots:
            counts[root] += 1
        return counts

    def _put(self, entry: Entry) -> int:
        place = self._places.get(entry)
        if place is None:
            place = self._places[entry] = len(self.entries)
            self.entries.append(entry)
        return place

    def _form(self, node: Node, truth: bool) -> int:
        place = self._asked.get((node, truth))
        if place is None:
            place = self._asked[node, truth] = self._ask(node, truth)
        return place

    def _ask(self, node: Node, truth: bool) -> int:  # noqa: PLR0911 - a case, a return
        match node:
            case And(parts):
                return self._join((self._form(part, truth) for part in parts), every=truth)
            case Or(parts):
                return self._join((self._form(part, truth) for part in parts), every=not truth)
            case Not(of):
                return self._form(of, not truth)
            case IsNull(of):
                return self._flip_unless(self._unknown(of), truth)
            case IsTruth(of, wanted):
                return self._flip_unless(self._form(of, wanted), truth)
            case Member():
                return self._flip_unless(self._put(node), truth)
            case Call(arguments=arguments):
                return self._first_known(arguments, truth)
            case Literal(value):
                return self._put(Always(value is truth))
            case Name():
                return self._put(Flag(node, truth))
            case _:
                return self._test(node, truth)

    def _test(self, node: Node, truth: bool) -> int:  # noqa: PLR0911 - a case, a return
        match node:
            case Compare():
                return self._compare(node, truth)
            case Between(of, low, high):
                pair = Compare(">=", of, low), Compare("<=", of, high)
                return self._join((self._compare(side, truth) for side in pair), every=truth)
            case In(of, options):
                known = tuple(option.value for option in options if option.value is not None)
                if not truth and len(known) < len(options):
                    return self._put(Always(False))
                return self._put(Among(of, known, truth))
            case Like(of, pattern, escape, fold):
                if pattern is None:
                    return self._put(Always(False))
                return self._put(Matches(of, pattern, escape, fold, truth))
            case Contains(items, element):
                return self._put(Holding(items, element, truth))
        raise AssertionError(f"{node!r} is no condition")

    def _compare(self, node: Compare, truth: bool) -> int:
        left, right = node.left, node.right
        ordering = node.ordering if truth else NEGATED[node.ordering]
        if type_of(left) is Type.BOOL:
            same = ordering == "="
            pairs = ((one, one if same else not one) for one in (True, False))
            return self._join(
                (self._join((self._form(left, a), self._form(right, b)), every=True) for a, b in pairs),
                every=False,
            )
        if isinstance(left, Literal) and not isinstance(right, Literal):
            left, right, ordering = right, left, _MIRRORED[ordering]
        return self._put(Holds(ordering, left, right))

    def _unknown(self, node: Node) -> int:
        if type_of(node) is not Type.BOOL or isinstance(node, Name):
            return self._put(Missing(node))
        known = (self._form(node, True), self._form(node, False))
        return self._flip_unless(self._join(known, every=False), False)

    def _first_known(self, arguments: tuple[Node, ...], truth: bool) -> int:
        place = self._form(arguments[-1], truth)
        for argument in reversed(arguments[:-1]):
            later = self._join((self._unknown(argument), place), every=True)
            place = self._join((self._form(argument, truth), later), every=False)
        return place

    def _join(self, places: Iterable[int], *, every: bool) -> int:
        kept: dict[int, None] = {}
        for place in places:
            entry = self.entries[place]
            if isinstance(entry, Always):
                if entry.answer is not every:
                    return place
            elif isinstance(entry, All if every else Any):
                kept |= dict.fromkeys(entry.parts)
            else:
                kept[place] = None
        if len(kept) == 1:
            return next(iter(kept))
        if not kept:
            return self._put(Always(every))
        return self._put(All(tuple(kept)) if every else Any(tuple(kept)))

    def _flip_unless(self, place: int, truth: bool) -> int:
        if truth:
            return place
        entry = self.entries[place]
        if isinstance(entry, Always):
            return self._put(Always(not entry.answer))
        return entry.part if isinstance(entry, Flip) else self._put(Flip(place))
