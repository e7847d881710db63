"""What is sure of rules before any user is looked at: one never holds, or holds wherever another does.

A search over the forms of a rule (`Forms`) for values that would make it true. Terms that are more than a
name are values of their own, so what is found impossible is impossible; of the rest nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any as Anything
from typing import cast

from audiences.rules.forms import (
    All,
    Always,
    Among,
    Any,
    Entry,
    Flag,
    Flip,
    Forms,
    Holding,
    Holds,
    Matches,
    Missing,
)
from audiences.rules.possible import Possible
from audiences.rules.tree import NEGATED, And, IsTruth, Literal, Member, Name, Node, Not, children

# Steps, and choices within choices, after which the search gives up: then nothing is proved.
_STEPS = 20_000
_CHOICES = 200
# Audiences that are read as their rules; further ones stay names.
_SPELLED_OUT = 200

# An entry that must, or must not, hold.
_Goal = tuple[Entry, bool]


def never(
    rule: Node,
    audiences: Mapping[str, Node] | None = None,
    values: Mapping[str, str | float | bool | None] | None = None,
) -> bool:
    """Whether it is proved that a rule is true of nobody.

    Args:
        audiences: rules of audiences by id, to be read in the place of `in_audience('…')`.
        values: of names that are the same for everybody.
    """
    return not _Search(Forms([_SpelledOut(audiences or {}, values or {}).of(rule)])).finds()


def implies(one: Node, other: Node, audiences: Mapping[str, Node] | None = None) -> bool:
    """Whether it is proved that wherever `one` is true `other` is, for the same user at the same moment."""
    return never(And((IsTruth(one, True), Not(IsTruth(other, True)))), audiences)


def mentioned(rule: Node, audiences: Mapping[str, Node] | None = None) -> frozenset[Node]:
    """Return the names, tags and audiences of a rule; from one without any of another's nothing follows."""
    pending = [_SpelledOut(audiences or {}, {}).of(rule)]
    found: set[Node] = set()
    while pending:
        node = pending.pop()
        if isinstance(node, Name | Member):
            found.add(node)
        pending += children(node)
    return frozenset(found)


class _SpelledOut:
    """Puts the rules of audiences in the place of their names; they are made of each other in no circle."""

    def __init__(
        self, audiences: Mapping[str, Node], values: Mapping[str, str | float | bool | None]
    ) -> None:
        self._audiences = audiences
        self._values = values
        self._left = _SPELLED_OUT

    def of(self, node: Node) -> Node:
        if isinstance(node, Name):
            return Literal(self._values[node.name], node.type) if node.name in self._values else node
        if isinstance(node, Member):
            rule = self._audiences.get(node.name) if node.of == "audience" else None
            if rule is None or self._left <= 0:
                return node
            self._left -= 1
            return IsTruth(self.of(rule), True)
        changed: dict[str, Anything] = {}
        for one in fields(node):
            value = getattr(node, one.name)
            if isinstance(value, tuple):
                inner = tuple(self._inner(part) for part in value)
                if inner != value:
                    changed[one.name] = inner
            elif (spelled := self._inner(value)) is not value:
                changed[one.name] = spelled
        return cast(Node, replace(node, **changed)) if changed else node

    def _inner(self, part: object) -> object:
        return self.of(cast(Node, part)) if is_dataclass(part) else part


class _Search:
    """Looks for values that make the only root of some forms true."""

    def __init__(self, forms: Forms) -> None:
        self._entries = forms.entries
        self._root = forms.entries[forms.roots[0]]
        self._steps = 0

    def finds(self) -> bool:
        """Whether there are such values, or the search gave up."""
        return self._holds([(self._root, True)], [], Possible(), 0)

    def _holds(self, goals: list[_Goal], choices: list[list[_Goal]], possible: Possible, depth: int) -> bool:
        goals, choices = list(goals), list(choices)
        while goals:
            self._steps += 1
            if self._steps > _STEPS or depth > _CHOICES:
                return True
            entry, wanted = goals.pop()
            together, apart = self._parts(entry, wanted)
            if apart is not None:
                # What leaves no choice is looked at first: most contradictions are found by it.
                choices.append(apart)
            elif together is not None:
                goals += together
            elif not possible.narrow(entry, wanted):
                return False
        if not choices:
            return True
        chosen = choices.pop()
        return any(self._holds([one], choices, possible.copy(), depth + 1) for one in chosen)

    def _parts(self, entry: Entry, wanted: bool) -> tuple[list[_Goal] | None, list[_Goal] | None]:
        """Return goals that must all be met, or else goals of which one must; neither of a plain test."""
        match entry:
            case All(parts) | Any(parts):
                goals = [(self._entries[part], wanted) for part in parts]
                return (goals, None) if isinstance(entry, All) is wanted else (None, goals)
            case Flip(part):
                return [(self._entries[part], not wanted)], None
            case _ if not wanted and not isinstance(entry, Missing | Member | Always):
                return None, [(one, True) for one in _otherwise(entry)]
        return None, None


def _otherwise(entry: Entry) -> list[Entry]:
    """Return what a test that does not hold may come from: a value that is missing, or the opposite test."""
    match entry:
        case Holds(ordering, left, right):
            return [Missing(left), Missing(right), Holds(NEGATED[ordering], left, right)]
        case Among(of, options, inside):
            return [Missing(of), Among(of, options, not inside)]
        case Matches():
            return [Missing(entry.of), replace(entry, inside=not entry.inside)]
        case Holding(items, element, inside):
            return [Missing(items), Missing(element), Holding(items, element, not inside)]
        case Flag(of, truth):
            return [Missing(of), Flag(of, not truth)]
    raise AssertionError(f"{entry!r} is no test")
