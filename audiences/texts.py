"""Text from outside, before it becomes a name, an id or a value that is kept."""

from __future__ import annotations

import unicodedata

from audiences.errors import TextUnfit

MAX_ID_LENGTH = 255


def fit(text: object, what: str, most: int = MAX_ID_LENGTH) -> str:
    """Return a text that can be kept: 1 to `most` characters, none of them a control character.

    Raises:
        TextUnfit: it is none; the message begins with `what`.
    """
    if not isinstance(text, str):
        raise TextUnfit(f"{what} must be text, not {type(text).__name__}")
    if not 0 < len(text) <= most:
        raise TextUnfit(f"{what} must have 1 to {most} characters, it has {len(text)}")
    if not writable(text):
        raise TextUnfit(f"{what} has a control character or half a surrogate pair in it: leave it out")
    return text


def writable(text: str, *, lines: bool = False) -> bool:
    """Say whether every database and terminal takes a text as it is; `lines`: with line ends and tabs."""
    allowed = "\n\r\t" if lines else ""
    return all(unicodedata.category(one) not in {"Cc", "Cs"} or one in allowed for one in text)
