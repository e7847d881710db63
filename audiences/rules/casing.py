"""Lower and upper case as DuckDB maps them: code point for code point, never changing the length.

Python's `str.lower` and `str.upper` apply Unicode's special casing (`ß` becomes `SS`, a final sigma
differs), which no column engine does; the simple mappings of UnicodeData.txt are what both must use.
"""

from __future__ import annotations

from functools import cache

CAPITAL_SHARP_S = "\u1e9e"


def lower(text: str) -> str:
    """The text in lower case by simple mappings."""
    return text.lower() if text.isascii() else "".join(map(_lower, text))


def upper(text: str) -> str:
    """The text in upper case by simple mappings; `ß` becomes its capital `ẞ`."""
    return text.upper() if text.isascii() else "".join(map(_upper, text))


@cache
def _lower(character: str) -> str:
    # Only U+0130 expands, and its simple mapping is the first character of the expansion.
    return character.lower()[0]


@cache
def _upper(character: str) -> str:
    if character == "ß":
        return CAPITAL_SHARP_S
    # Where upper case expands, the simple mapping is the title case if that's one character (ᾳ);
    # else there is none (ŉ).
    for mapped in (character.upper(), character.title()):
        if len(mapped) == 1:
            return mapped
    return character
