"""Why a rule is true, false or unknown of one user: each part's truth, and the parts that decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime

import msgspec

from audiences.rules.evaluate import Person, truth
from audiences.rules.render import literal, quoted, render
from audiences.rules.rule import Rule
from audiences.rules.schema import Type
from audiences.rules.tree import And, Literal, Member, Name, Node, Not, Or, children
from audiences.rules.values import Held, missing

SHOWN_ITEMS = 5  # of a list in words

_WORDS = {True: "true", False: "false", None: "unknown"}


class Trace(msgspec.Struct, frozen=True):
    """One part of a rule and its truth (None is unknown).

    `parts` are those that AND, OR and NOT join; `decided` says whether the part made the whole rule
    what it is, `values` what the features of a part without parts were, in words.
    """

    text: str
    truth: bool | None
    decided: bool
    values: dict[str, str]
    parts: tuple[Trace, ...]

    def deciding(self) -> Iterator[Trace]:
        """The smallest parts that made the rule what it is, in the order of the text."""
        if self.decided and not self.parts:
            yield self
        for part in self.parts:
            yield from part.deciding()

    @property
    def words(self) -> str:
        """The deciding parts in words: `orders_90d > 3 is false: orders_90d is 1`."""
        return "; ".join(part._sentence() for part in self.deciding())

    def _sentence(self) -> str:
        known = ", ".join(f"{name} {told}" for name, told in self.values.items())
        return f"{self.text} is {_WORDS[self.truth]}" + (f": {known}" if known else "")


def trace(
    rule: Rule,
    values: Mapping[str, object],
    *,
    tags: AbstractSet[str] = frozenset(),
    audiences: AbstractSet[str] = frozenset(),
    now: datetime | None = None,
) -> Trace:
    """Explains a rule's answer for one user; takes and raises what `Rule.matches` does."""
    return _trace(rule.tree, Person.of(rule.types, values, tags, audiences, now), True)


def _trace(node: Node, person: Person, decided: bool) -> Trace:
    known = truth(node, person)
    match node:
        case And(parts) | Or(parts):
            truths = [truth(part, person) for part in parts]
            # One part settles a false AND and a true OR; otherwise all those like the whole do.
            settled = known is isinstance(node, Or)
            first = truths.index(known)
            marks = [
                decided and part is known and (not settled or place == first)
                for place, part in enumerate(truths)
            ]
            inner = tuple(_trace(part, person, mark) for part, mark in zip(parts, marks, strict=True))
        case Not(And() | Or() | Not() as of):
            inner = (_trace(of, person, decided),)
        case _:
            return Trace(render(node), known, decided, dict(_told(node, person)), ())
    return Trace(render(node), known, decided, {}, inner)


def _told(node: Node, person: Person) -> Iterator[tuple[str, str]]:
    if isinstance(node, Name):
        yield node.name, f"is {_shown(node.type, person.held[node.name])}"
    if isinstance(node, Member):
        present = truth(node, person)
        if node.of == "tag":
            yield f"tag {quoted(node.name)}", "is set" if present else "is not set"
        else:
            yield "the user", f"is {'' if present else 'not '}in {quoted(node.name)}"
    for child in children(node):
        yield from _told(child, person)


def _shown(kind: Type, held: Held) -> str:
    if isinstance(held, list):
        items = [literal(Literal(item, kind.element)) for item in held[:SHOWN_ITEMS]]
        return f"[{', '.join(items + ['…'] * (len(held) > SHOWN_ITEMS))}]"
    return literal(Literal(None if missing(held) else held, kind))
