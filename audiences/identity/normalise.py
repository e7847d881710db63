"""One spelling for each identity, so that equal ones compare equal."""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

from audiences.errors import EventRefused
from audiences.events import Claim, Event
from audiences.identity.models import ANONYMOUS, ANONYMOUS_ID, USER_ID, Identity

MAX_VALUE_LENGTH = 254
_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@.]+")
# The names under which Segment's SDKs and others send the same kinds.
_SYNONYMS = {"mail": "email", "e_mail": "email", "mobile": "phone", "device_id": "device"}
# Values that senders fill in where they know nothing.
_NOTHING = frozenset({"", "null", "none", "undefined", "nan", "unknown", "0"})


@lru_cache(maxsize=65_536)
def normalise(kind: str, value: str, region: str = "") -> Identity | None:
    """Return an identity in its one spelling, or None when the value can't be one.

    E-mail addresses become lower case (so do local parts: mail systems that tell them apart are not in
    use), phone numbers E.164, other values keep their case.

    Args:
        region: ISO 3166 code of the country whose numbers are written without a country code, if any.
    """
    kind = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.strip()).lower())
    kind = _SYNONYMS.get(kind, kind)
    value = value.strip()
    if _KIND.fullmatch(kind) is None or kind in (USER_ID, ANONYMOUS_ID) or value.lower() in _NOTHING:
        return None
    if len(value) > MAX_VALUE_LENGTH or "\x00" in value:
        return None
    if kind == "email":
        value = value.lower()
        return Identity(kind, value) if _EMAIL.fullmatch(value) else None
    if kind == "phone":
        return _phone(value, region)
    return Identity(kind, value)


def identities_of(claims: tuple[Claim, ...], region: str = "") -> dict[Identity, bool]:
    """Return the identities that claims name, and whether any of them vouches for it."""
    found: dict[Identity, bool] = {}
    for claim in claims:
        identity = normalise(claim.kind, claim.value, region)
        if identity is not None:
            found[identity] = found.get(identity, False) or claim.verified
    return found


def check_ids(event: Event, region: str = "") -> None:
    """Make sure that the ids of an event can be told from those that are made here.

    Raises:
        EventRefused: a user id begins with "anonymous:", an anonymous id with a colon, or nobody is named.
    """
    for field, value in (("userId", event.user_id), ("previousId", event.previous_id or "")):
        if value.startswith(ANONYMOUS) and (field == "userId" or event.type != "alias"):
            raise EventRefused(
                f"`{field}` {value!r} begins with {ANONYMOUS!r}, which marks users who are not known yet: "
                "send `anonymousId` for them"
            )
    if event.anonymous_id is not None and event.anonymous_id.startswith(":"):
        raise EventRefused(f"`anonymousId` {event.anonymous_id!r} must not begin with a colon")
    if event.type == "alias":
        if not event.previous_id:
            raise EventRefused("`previousId` is missing: say who the user was until now")
        if not event.user_id:
            raise EventRefused("`userId` is missing: say who the user is from now on")
    elif not event.user_id and not event.anonymous_id and not identities_of(event.claims, region):
        raise EventRefused(
            "`userId` and `anonymousId` are missing: say who did it, or give a whole e-mail address or "
            "phone number"
        )


def _phone(value: str, region: str) -> Identity | None:
    try:
        number = phonenumbers.parse(value, region or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return Identity("phone", phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
