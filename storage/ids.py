"""Ids that sort by time."""

from __future__ import annotations

import os
import uuid
from datetime import datetime
from itertools import count

from storage.times import from_micros, to_micros

_VERSION = 7 << 76
_VARIANT = 0b10 << 62
# Below the milliseconds ids count, in 12 bits before the variant and 14 after it; the rest is random.
_COUNTED_LOW, _RANDOM = 14, 48
_COUNTED = (1 << 12 + _COUNTED_LOW) - 1
_numbers = count(int.from_bytes(os.urandom(4)))


def new_id(now: datetime) -> str:
    """Return a fresh UUIDv7 (RFC 9562, section 5.7) whose time part is `now`, as 36 characters.

    `now` is given rather than read because the service may run on the clock of its data. Those that a
    process makes within one millisecond sort as they were made (section 6.2, method 1): rows that are
    written together then lie together in the indexes of their ids.
    """
    return new_ids(now, 1)[0]


def new_ids(now: datetime, number: int) -> list[str]:
    """Return so many of what `new_id` returns, in the order in which they sort."""
    head = to_micros(now) // 1000 << 80 | _VERSION | _VARIANT
    chance = os.urandom(_RANDOM // 8 * number)
    return [_text(head, chance[at : at + _RANDOM // 8]) for at in range(0, len(chance), _RANDOM // 8)]


def _text(head: int, chance: bytes) -> str:
    counted = next(_numbers) & _COUNTED
    high, low = counted >> _COUNTED_LOW, counted & (1 << _COUNTED_LOW) - 1
    text = f"{head | high << 64 | low << _RANDOM | int.from_bytes(chance):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def time_of(id_: str) -> datetime | None:
    """Return when a UUIDv7 was made, to the millisecond; None for anything else.

    >>> time_of("019cad54-5a00-7000-8000-000000000000").isoformat()
    '2026-03-02T06:55:12.384000+00:00'
    """
    try:
        parsed = uuid.UUID(id_)
    except ValueError:
        return None
    return from_micros((parsed.int >> 80) * 1000) if parsed.version == 7 else None
