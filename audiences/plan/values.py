"""Values brought into the type or form that a schema asks for; what can't be is left as it came.

number, integer    text that is a decimal number: "12.5", " 7 ", "1e3". A decimal comma or a thousands
                   mark is not read: nobody can tell 1,234 from 1.234
boolean            the texts "true" and "false" in any case
string             a whole number: order numbers are often sent as such
date-time          ISO 8601, as RFC 3339 in UTC; without a zone it is taken for UTC
email, phone       as `audiences.addresses` has them: a trimmed address in lower case, E.164
country            the ISO 3166-1 alpha-2 code, of a code of two or three letters or of an English name
address            an object whose texts are trimmed and whose runs of blanks are one; `country` as above,
                   `postal_code` and `state` of at most three letters in capitals
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import pycountry

from audiences.addresses import normal_email, normal_phone
from audiences.errors import AddressUnfit

Convert = Callable[[Any], Any]

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+(?:\.0+)?", re.ASCII)
_BOOLS = {"true": True, "false": False}
# Longer texts are no numbers; reading thousands of digits would cost more than the whole event.
_MAX_DIGITS = 40
_STATE_LETTERS = 3
_CACHED = 4_096
_COUNTRY_FIELDS = frozenset({"country", "country_code"})
_CODE_FIELDS = frozenset({"postal_code", "postalCode", "zip"})


def number(value: Any) -> Any:
    """Return the number that a text says."""
    if isinstance(value, str) and len(value) <= _MAX_DIGITS and _NUMBER.fullmatch(text := value.strip()):
        if _WHOLE.fullmatch(text):
            return int(text.partition(".")[0])
        read = float(text)
        return read if math.isfinite(read) else value
    return value


def integer(value: Any) -> Any:
    """Return the whole number that a text says."""
    if isinstance(value, str) and len(value) <= _MAX_DIGITS and _WHOLE.fullmatch(text := value.strip()):
        return int(text.partition(".")[0])
    return value


def boolean(value: Any) -> Any:
    """Return what "true" and "false" say."""
    return _BOOLS.get(value.strip().lower(), value) if isinstance(value, str) else value


def string(value: Any) -> Any:
    """Return a whole number as text."""
    return str(value) if type(value) is int else value


def moment(value: Any) -> Any:
    """Return a time as RFC 3339 has it, in UTC."""
    if not isinstance(value, str):
        return value
    try:
        read = datetime.fromisoformat(value.strip())
        aware = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return value
    return aware.isoformat().replace("+00:00", "Z")


def email(value: Any) -> Any:
    """Return an e-mail address in its normal form."""
    if not isinstance(value, str):
        return value
    try:
        return normal_email(value)
    except AddressUnfit:
        return value


def phone_of(region: str | None) -> Convert:
    """Return what makes E.164 of phone numbers; those without a country code are from `region`."""

    @lru_cache(maxsize=_CACHED)
    def normal(text: str) -> str:
        try:
            return normal_phone(text, region)
        except AddressUnfit:
            return text

    def phone(value: Any) -> Any:
        return normal(value) if isinstance(value, str) else value

    return phone


@lru_cache(maxsize=_CACHED)
def _country_code(text: str) -> str:
    plain = text.strip()
    if len(plain) == 2 and pycountry.countries.get(alpha_2=plain.upper()):
        return plain.upper()
    try:
        return str(pycountry.countries.lookup(plain).alpha_2)
    except LookupError:
        return text


def country(value: Any) -> Any:
    """Return the ISO 3166-1 alpha-2 code of a country."""
    return _country_code(value) if isinstance(value, str) else value


def address(value: Any) -> Any:
    """Return a postal address with its texts in one form."""
    if not isinstance(value, dict):
        return value
    normal = {name: _part(name, part) for name, part in value.items()}
    return value if normal == value else normal


def _part(name: str, part: Any) -> Any:
    if not isinstance(part, str):
        return part
    text = " ".join(part.split())
    if name in _COUNTRY_FIELDS:
        return country(text)
    if name in _CODE_FIELDS or (name == "state" and len(text) <= _STATE_LETTERS):
        return text.upper()
    return text


BY_TYPE: Mapping[str, Convert] = {
    "number": number,
    "integer": integer,
    "boolean": boolean,
    "string": string,
}


def by_format(region: str | None) -> Mapping[str, Convert]:
    """Return what brings values into each format."""
    return {
        "date-time": moment,
        "email": email,
        "phone": phone_of(region),
        "country": country,
        "address": address,
    }


def is_phone(value: Any) -> bool:
    """Whether a value has the form of E.164."""
    return not isinstance(value, str) or re.fullmatch(r"\+[1-9]\d{1,14}", value) is not None


def is_country(value: Any) -> bool:
    """Whether a value is an ISO 3166-1 alpha-2 code."""
    return not isinstance(value, str) or pycountry.countries.get(alpha_2=value) is not None
