"""Ids that sort by time."""

from __future__ import annotations

import os
import uuid
from datetime import datetime
from itertools import count

from storage.times import from_micros, to_micros

_VERSION = 7
# Two bits, of the sixteen that they begin.
_VARIANT = 0b10 << 14
# Below the milliseconds ids count, in 12 bits before the variant and 14 after it; the last 48 are random.
_COUNTED_LOW = 14
_COUNTED, _LOW = (1 << 12 + _COUNTED_LOW) - 1, (1 << _COUNTED_LOW) - 1
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
    moment = f"{to_micros(now) // 1000:012x}"
    head = f"{moment[:8]}-{moment[8:]}-{_VERSION}"
    chance = os.urandom(6 * number).hex()
    return [_text(head, next(_numbers) & _COUNTED, chance[at : at + 12]) for at in range(0, 12 * number, 12)]


def _text(head: str, counted: int, chance: str) -> str:
    return f"{head}{counted >> _COUNTED_LOW:03x}-{_VARIANT | counted & _LOW:04x}-{chance}"


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
