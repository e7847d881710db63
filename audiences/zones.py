"""The time zone of a user, from what a feature says of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def zone_of(named: Any, fallback: str) -> ZoneInfo:
    """Return the zone that a feature's value names; the fallback's where it names none."""
    return _known(named, fallback) if isinstance(named, str) else ZoneInfo(fallback)


@lru_cache(maxsize=1024)
def _known(name: str, fallback: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(fallback)
