"""LIKE and ILIKE patterns: `%` is any run of characters, `_` any one; no escape unless one is named."""

from __future__ import annotations

import re
from collections.abc import Callable

from audiences.rules.casing import lower

ANY_RUN = "%"
ANY_ONE = "_"


def pieces(pattern: str, escape: str) -> list[tuple[bool, str]]:
    """The pattern as (is a wildcard, text) pieces.

    Raises ValueError when the pattern ends in its escape character.
    """
    found: list[tuple[bool, str]] = []
    characters = iter(pattern)
    for character in characters:
        if escape and character == escape:
            literal = next(characters, None)
            if literal is None:
                raise ValueError("the pattern ends in its escape character")
            found.append((False, literal))
        else:
            found.append((character in {ANY_RUN, ANY_ONE}, character))
    return found


def matcher(pattern: str, escape: str, fold: bool) -> Callable[[str], bool]:
    """A function that says whether a whole text matches the pattern; `fold` ignores case."""
    parts = pieces(pattern, escape)
    body = "".join(
        {ANY_RUN: ".*", ANY_ONE: "."}[text] if wild else re.escape(lower(text) if fold else text)
        for wild, text in parts
    )
    full = re.compile(body, re.DOTALL).fullmatch
    if fold:
        return lambda text: full(lower(text)) is not None
    return lambda text: full(text) is not None
