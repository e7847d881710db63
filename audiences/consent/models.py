"""What consent is: a user's word on a purpose and a channel, with what the user was shown."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import datetime
from enum import StrEnum

import msgspec

from audiences.errors import ConsentRefused
from audiences.events import EARLIEST, FUTURE_TOLERANCE
from audiences.texts import fit

# Stands for every purpose, or every channel.
ANY = "any"
_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_PACED = "paced."
_HASH = re.compile(r"[0-9a-f]{64}")


def about(playbook: str) -> str:
    """Return the purpose of words on the messages of one playbook, which no other purpose is called.

    >>> about("win_back")
    'about.win_back'
    """
    name_ = f"about.{playbook}"
    # As long as the column of purposes takes.
    return name_ if len(name_) <= 64 else f"about.{_digest(playbook)[:58]}"


def paced(purpose: str, most: int) -> str:
    """Return the purpose of words by which users agree to so many messages of a purpose; 0: as many as come.

    >>> paced("promotional", 3)
    'paced.promotional.3'
    """
    return f"{_PACED}{purpose}.{most}"


class Channel(StrEnum):
    """By which way a user is reached."""

    ANY = ANY
    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"


class ConsentState(StrEnum):
    """What the user said."""

    GRANTED = "granted"
    DENIED = "denied"


class Reason(StrEnum):
    """Why an address may not be written to."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    DO_NOT_CONTACT = "do_not_contact"


class Wording(msgspec.Struct, frozen=True):
    """What the user was shown; `hash` is the SHA-256 of the text, in hexadecimal digits."""

    id: str
    version: str
    hash: str


class Consent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user's word: granted or denied, for a purpose, on a channel, from a moment on.

    `source` says where it came from: `form.newsletter`, `import`, `preference_page`.
    """

    user_id: str
    purpose: str
    channel: Channel
    state: ConsentState
    at: datetime
    source: str
    wording: Wording | None = None


class ConsentBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the fact that a user granted or denied; the fact's label says which."""

    purpose: str
    channel: Channel
    source: str
    wording: Wording | None = None


class SuppressionBody(msgspec.Struct, frozen=True):
    """Body of the facts `suppressed` and `lifted`; `address` is the keyed hash, not the address."""

    kind: str
    address: str
    reason: Reason
    source: str


def wording(id_: str, version: str, text: str) -> Wording:
    """Return a wording with the hash of its text (in Unicode's normal form C)."""
    normal = unicodedata.normalize("NFC", text)
    return Wording(
        fit(id_, "the wording's id", 64), fit(version, "the wording's version", 64), _digest(normal)
    )


def known_wording(id_: str, version: str, hash_: str) -> Wording:
    """Return a wording of which only the hash is known.

    Raises:
        ConsentRefused: that is no SHA-256.
    """
    if not _HASH.fullmatch(hash_):
        raise ConsentRefused("the wording's hash must be a SHA-256: 64 hexadecimal digits in lower case")
    return Wording(fit(id_, "the wording's id", 64), fit(version, "the wording's version", 64), hash_)


def name(text: str, what: str) -> str:
    """Return a purpose's or source's name, as names are written everywhere.

    Raises:
        ConsentRefused: it is none.
    """
    if not _NAME.fullmatch(text):
        raise ConsentRefused(
            f"{what} {text[:64]!r} is no name: write lower-case letters, digits and underscores, at most 64"
        )
    return text


def moment(at: datetime | None, now: datetime) -> datetime:
    """Return when a user spoke: now if nobody says; what lies a little ahead was said now.

    Otherwise the word of a clock that goes ahead would overrule what the user says next.

    Raises:
        ConsentRefused: it lies too far ahead, before there were customers, or has no time zone.
    """
    if at is None:
        return now
    if at.tzinfo is None:
        raise ConsentRefused(f"`at` {at.isoformat()} has no time zone: append Z or an offset")
    if at > now + FUTURE_TOLERANCE:
        raise ConsentRefused(f"`at` {at.isoformat()} lies in the future (it is {now.isoformat()})")
    if at < EARLIEST:
        raise ConsentRefused(f"`at` {at.isoformat()} lies before {EARLIEST.date()}: the clock was not set")
    return min(at.astimezone(now.tzinfo), now)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
