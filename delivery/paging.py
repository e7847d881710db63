"""Where the next page of a list begins: after a moment and an id, as one text."""

from __future__ import annotations

from datetime import datetime

from delivery.errors import BadCursor


def next_after(at: datetime, id_: str) -> str:
    """Return the text for the page after the one that ends with this."""
    return f"{at.isoformat()}~{id_}"


def cursor(text: str) -> tuple[datetime, str] | None:
    """Return moment and id of such a text; None of an empty one, which is the first page.

    Raises:
        BadCursor: that is none.
    """
    if not text:
        return None
    at, _, last = text.partition("~")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not last:
        raise BadCursor(f"{text!r} is no `next` of a page; begin without `after`")
    return moment, last
