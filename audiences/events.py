"""Events: what a user did as a sender tells it, and what the ledger keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

# Clocks of devices differ; what lies further ahead than this is a mistake, not a difference.
FUTURE_TOLERANCE = timedelta(hours=24)
# Nothing that a customer did was recorded before this; times near 1970 come from unset clocks.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

MessageType = Literal["track", "identify", "page", "screen", "group", "alias"]
# The name under which a message without an event of its own is kept; its traits are the properties of
# `identify` and `group`.
LABELS: Mapping[MessageType, str] = {
    "identify": "identify",
    "page": "page_viewed",
    "screen": "screen_viewed",
    "group": "group",
    "alias": "alias",
}


class Claim(msgspec.Struct, frozen=True):
    """An identity that a message names beside its user: an e-mail address, a phone number, a device.

    `verified` says that the sender vouches that the identity is the user's; only such a one joins users.
    """

    kind: str
    value: str
    verified: bool = False


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something a user did, as a sender tells it.

    `user_id` is what the sender calls the user, empty where only an anonymous id or another identity is
    named; whose it is in the end is found out when it is recorded (`audiences.intake`). `source` names who
    sent it. `previous_id` goes with the type alias, `account_id` with group.
    """

    event_id: str
    user_id: str
    name: str
    properties: Mapping[str, Any]
    occurred_at: datetime
    received_at: datetime
    type: MessageType = "track"
    anonymous_id: str | None = None
    claims: tuple[Claim, ...] = ()
    account_id: str | None = None
    previous_id: str | None = None
    context: Mapping[str, Any] = {}
    source: str = ""


class EventBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ledger keeps of an event beside its id, name, user and times."""

    properties: dict[str, Any] = {}
    type: MessageType = "track"
    context: dict[str, Any] = {}
    source: str = ""
    account_id: str | None = None


class AsideBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ledger keeps of an event that was set aside: all of it, and why; `past` if it was imported."""

    event: Event
    reason: str
    past: bool = False
