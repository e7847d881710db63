"""The time zone of a user, from what a feature says of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator

# In a document, instead of a zone.
EACH_USERS_OWN = "user"


def _written(value: str) -> str:
    if value != EACH_USERS_OWN:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"there is no time zone {value!r}; write one like Europe/Berlin, or user"
            ) from error
    return value


# A zone as documents name it, or each user's own.
Zone = Annotated[str, AfterValidator(_written)]


def zone_of(named: Any, fallback: str) -> ZoneInfo:
    """Return the zone that a feature's value names; the fallback's where it names none."""
    return _known(named, fallback) if isinstance(named, str) else ZoneInfo(fallback)


@lru_cache(maxsize=1024)
def _known(name: str, fallback: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(fallback)
