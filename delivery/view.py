"""A user as flows see them: where they live, what rules may ask of them, when they are most active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import datetime, time
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec

UTC = ZoneInfo("UTC")


class View(msgspec.Struct, frozen=True):
    """One user at one moment.

    `values` are features by the names that rules use, of `tags` those carried, of `audiences` those the user
    is in. `best_hour` is when the user is most active, on the user's own clock; None: too little is known.
    `answers` is by channel which share of messages the user is expected to answer (`delivery.preference`).
    """

    zone: ZoneInfo = UTC
    values: Mapping[str, Any] = {}
    tags: Set[str] = frozenset()
    audiences: Set[str] = frozenset()
    best_hour: time | None = None
    answers: Mapping[str, float] = {}


class Views(Protocol):
    """Shows users to flows that ask for them."""

    def read(self, users: Sequence[str], now: datetime) -> Mapping[str, View]:
        """Return every one of these users as they are now; called outside of transactions."""
        ...


class Strangers:
    """Nothing is known of anybody: all live by UTC, and no rule holds that asks for something."""

    def read(self, users: Sequence[str], now: datetime) -> Mapping[str, View]:
        return dict.fromkeys(users, View())
