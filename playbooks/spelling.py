"""What a misspelt name may have been meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# Names beyond so many are not listed.
_MANY = 20


def closest(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean …?` for the known name that is most like this one, or what there is."""
    names = sorted(known)
    if near := get_close_matches(name, names, n=1):
        return f", did you mean {near[0]!r}?"
    return f"; there are {', '.join(names) or 'none'}" if len(names) <= _MANY else ""
