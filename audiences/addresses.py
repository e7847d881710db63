"""E-mail addresses and phone numbers in the one form in which they are compared."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

import phonenumbers

from audiences.errors import AddressUnfit

# RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.3.
_MAX_LOCAL = 64
_MAX_EMAIL = 254
_LOCAL = re.compile(r"[^\s@<>\"(),:;\[\]\\\x00-\x1f\x7f]+")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class AddressKind(StrEnum):
    """What sort of address it is."""

    EMAIL = "email"
    PHONE = "phone"


def normal(kind: AddressKind, address: str, region: str | None = None) -> str:
    """Return an address in its normal form (see `normal_email`, `normal_phone`)."""
    return normal_email(address) if kind is AddressKind.EMAIL else normal_phone(address, region)


def normal_email(address: str) -> str:
    """Return an e-mail address in lower case, its domain as the DNS has it (`…@xn--…`).

    RFC 5321 lets the part before the @ differ by case; no provider of note does, and whoever opted out as
    Ann@example.com means ann@example.com too.

    Raises:
        AddressUnfit: it is none.
    """
    local, at, domain = address.strip().rpartition("@")
    try:
        encoded = domain.rstrip(".").encode("idna").decode().lower()
    except UnicodeError:
        encoded = ""
    if not at or len(local) > _MAX_LOCAL or not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(encoded):
        raise AddressUnfit("this is no e-mail address: write it like ann@example.com")
    found = f"{local.lower()}@{encoded}"
    if len(found) > _MAX_EMAIL or not _encodable(found):
        raise AddressUnfit(f"an e-mail address has at most {_MAX_EMAIL} characters")
    return found


# A number is looked at several times on the way of each message to it.
@lru_cache(maxsize=2_000)
def normal_phone(number: str, region: str | None = None) -> str:
    """Return a phone number as E.164 has it (`+491701234567`).

    Args:
        region: where numbers without a country code are from, for example DE.

    Raises:
        AddressUnfit: it is none, or none that anybody can have.
    """
    try:
        parsed = phonenumbers.parse(number.strip(), region)
    except phonenumbers.NumberParseException as error:
        raise AddressUnfit(
            "this is no phone number: write it with its country code, like +49 170 1234567"
        ) from error
    if not phonenumbers.is_possible_number(parsed):
        raise AddressUnfit("this is no phone number that anybody can have: check its digits")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
