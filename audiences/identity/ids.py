"""Ids and identities of messages: which can't be, and one spelling for each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from audiences.addresses import AddressKind, normal
from audiences.errors import AddressUnfit, EventRefused
from audiences.events import Claim, Event
from audiences.identity.models import ANONYMOUS, ANONYMOUS_ID, USER_ID, Identity

MAX_VALUE_LENGTH = 255
_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_OTHER = re.compile(r"[^a-z0-9]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Values that senders fill in where they know nothing.
_NOTHING = frozenset({"", "null", "none", "undefined", "nan", "unknown", "0"})


def spelled(kind: str) -> str:
    """Return the one spelling of a kind of identities, snake_case."""
    return _OTHER.sub("_", _HUMP.sub("_", kind.strip()).lower())


@lru_cache(maxsize=65_536)
def normalise(kind: str, value: str, region: str = "") -> Identity | None:
    """Return an identity in its one spelling, or None when the value can't be one.

    Kinds become snake_case; e-mail addresses and phone numbers the form in which they are compared
    (`audiences.addresses`); other values keep their case.

    Args:
        region: ISO 3166 code of the country whose numbers are written without a country code, if any.
    """
    kind = spelled(kind)
    value = value.strip()
    if not _KIND.fullmatch(kind) or kind in (USER_ID, ANONYMOUS_ID) or value.lower() in _NOTHING:
        return None
    if kind in (AddressKind.EMAIL, AddressKind.PHONE):
        try:
            return Identity(kind, normal(AddressKind(kind), value, region or None))
        except AddressUnfit:
            return None
    return Identity(kind, value) if len(value) <= MAX_VALUE_LENGTH and "\x00" not in value else None


def identities_of(claims: Iterable[Claim], region: str = "") -> dict[Identity, bool]:
    """Return the identities that claims name, and whether any of them vouches for it."""
    found: dict[Identity, bool] = {}
    for claim in claims:
        identity = normalise(claim.kind, claim.value, region)
        if identity is not None:
            found[identity] = found.get(identity, False) or claim.verified
    return found


def check_ids(event: Event, region: str = "") -> None:
    """Make sure that an event says whose it is, by ids that can be told from those that are made here.

    Raises:
        EventRefused: a user id begins with "anonymous:", an anonymous id with a colon, or nobody is named.
    """
    user_id, anonymous_id = event.user_id, event.anonymous_id
    if user_id.startswith(ANONYMOUS):
        raise EventRefused(
            f"`userId` {user_id!r} begins with {ANONYMOUS!r}, which marks users who are not known yet: "
            "send `anonymousId` for them"
        )
    if anonymous_id is not None and anonymous_id.startswith(":"):
        raise EventRefused(f"`anonymousId` {anonymous_id!r} must not begin with a colon")
    if event.type == "alias" and not (user_id and event.previous_id):
        missing = "userId" if event.previous_id else "previousId"
        raise EventRefused(f"`{missing}` is missing: an alias joins `previousId` to `userId`")
    if not (user_id or anonymous_id or identities_of(event.claims, region)):
        raise EventRefused(
            "`userId` is missing: say who did it, or send an `anonymousId`, a whole e-mail address or a "
            "phone number with its country code"
        )
