"""What providers tell of messages, in one form for all of them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

# Providers' ids are tens of characters; a longer one is no id.
MAX_ID = 200


class What(StrEnum):
    """What a receipt says of its message."""

    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    FAILED = "failed"


class Bounce(StrEnum):
    """Whether an address can't be reached at all (`hard`), or could not be this time."""

    HARD = "hard"
    SOFT = "soft"


class Told(msgspec.Struct, frozen=True, omit_defaults=True, tag="told"):
    """A receipt. `event_id` is the provider's, the same at every repetition.

    `key` is the id that the provider was given with the message, `reference` the one that it gave; one of
    them says which message it is. `address` is the one that was written to, `at` when it happened.
    """

    event_id: str
    what: What
    at: datetime
    key: str = ""
    reference: str = ""
    address: str = ""
    bounce: Bounce = Bounce.HARD
    reason: str = ""
    link: str = ""
    text: str = ""
    user_agent: str = ""
    ip: str = ""


class Texted(msgspec.Struct, frozen=True, omit_defaults=True, tag="texted"):
    """A text message that somebody sent to us."""

    event_id: str
    sender: str
    text: str
    at: datetime


class Unreadable(msgspec.Struct, frozen=True, omit_defaults=True, tag="unreadable"):
    """What can't be read as a receipt, and why."""

    event_id: str
    at: datetime
    reason: str
    body: str


Incoming = Told | Texted | Unreadable


class Became(StrEnum):
    """What became of a receipt."""

    RECORDED = "recorded"
    # The provider told it before.
    DUPLICATE = "duplicate"
    # A machine opened or clicked: kept apart, nothing follows from it.
    MACHINE = "machine"
    # It is kept with the reason, and tried again for a while.
    QUARANTINED = "quarantined"


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a receipt, and why if it could not be used."""

    id: str
    outcome: Became
    reason: str = ""
