"""What was probably meant by a name that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LISTED = 20


def closest(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean …?` for the known name that is most like this one, or what there is."""
    names = sorted(known)
    if near := get_close_matches(name, names, n=1):
        return f", did you mean {near[0]!r}?"
    return f"; there are {', '.join(names) or 'none'}" if len(names) <= _LISTED else ""
