"""The time zone in which a user's day ends."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Protocol


class UserZones(Protocol):
    """Knows the time zones of users; of those it does not know it gives one that holds for all."""

    def of(self, user_id: str) -> tzinfo: ...


class Greenwich:
    """Everybody lives by UTC."""

    def of(self, user_id: str) -> tzinfo:
        return UTC
