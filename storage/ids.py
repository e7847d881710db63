"""Ids that sort by time."""

from __future__ import annotations

import os
import uuid
from datetime import datetime

from storage.times import from_micros, to_micros

_VERSION = 7 << 76
_VARIANT = 0b10 << 62
_RANDOM_A = ((1 << 12) - 1) << 64
_RANDOM_B = (1 << 62) - 1


def new_id(now: datetime) -> str:
    """Return a fresh UUIDv7 (RFC 9562, section 5.7) whose time part is `now`, as 36 characters.

    `now` is given rather than read because the service may run on the clock of its data.
    """
    random = int.from_bytes(os.urandom(10))
    millis = to_micros(now) // 1000
    digits = f"{millis << 80 | _VERSION | _VARIANT | random & (_RANDOM_A | _RANDOM_B):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def time_of(id_: str) -> datetime | None:
    """Return when a UUIDv7 was made, to the millisecond; None for anything else.

    >>> time_of("019cad54-5a00-7000-8000-000000000000").isoformat()
    '2026-03-02T04:03:05.600000+00:00'
    """
    try:
        parsed = uuid.UUID(id_)
    except ValueError:
        return None
    return from_micros((parsed.int >> 80) * 1000) if parsed.version == 7 else None
