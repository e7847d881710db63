"""What a rule may speak of: the names in reach, their types, and whether tags and audiences are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Type(StrEnum):
    """Type of a value. Every number is a 64-bit float, every timestamp whole microseconds of UTC."""

    NUMBER = "number"
    TEXT = "text"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    TEXTS = "list[text]"
    NUMBERS = "list[number]"

    @property
    def element(self) -> Type:
        """Type of a list's elements; raises KeyError for what isn't a list."""
        return {Type.TEXTS: Type.TEXT, Type.NUMBERS: Type.NUMBER}[self]

    @property
    def is_list(self) -> bool:
        return self in {Type.TEXTS, Type.NUMBERS}

    @property
    def phrase(self) -> str:
        """The type in a sentence: "a number", "text", "a list of text"."""
        return _PHRASES[self]


_PHRASES = {
    Type.NUMBER: "a number",
    Type.TEXT: "text",
    Type.BOOL: "a condition",
    Type.TIMESTAMP: "a timestamp",
    Type.TEXTS: "a list of text",
    Type.NUMBERS: "a list of numbers",
}


@dataclass(frozen=True, slots=True)
class Schema:
    """The names a rule may use, dotted ones included (`account.tier`), and their types.

    `tags` and `audiences` say whether `tag('…')` and `in_audience('…')` may be called; a set of audiences
    that these are all there are. `options` are the values of text that has a fixed set of them: comparing
    it with anything else is an error, not a rule that never holds.
    """

    names: Mapping[str, Type]
    tags: bool = True
    audiences: bool | frozenset[str] = True
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def with_audiences(self, known: Iterable[str]) -> Schema:
        """The same with these audiences and no others."""
        return replace(self, audiences=frozenset(known))
