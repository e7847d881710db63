"""Links that say by themselves what they are for, and that nobody else can make."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from delivery.errors import LinkBroken, LinkExpired
from storage.times import from_micros, to_micros

T = TypeVar("T", bound=msgspec.Struct)

# 128 bits: trying them over HTTP takes longer than anybody lives.
_MAC_BYTES: Final = 16
# Longer ones are not ours: no address of a content is that long.
MAX_TOKEN: Final = 8_000


class Tracked(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """A link of a message, or its pixel (`url` is ''): the `number`th of `links`, from 1."""

    key: str
    url: str
    number: int = 0
    links: int = 0


class Unsubscribe(msgspec.Struct, frozen=True, array_like=True, tag="u"):
    """Ends messages like the one with this key."""

    key: str
    until: int


class Preferences(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """Opens what a user may say of messages."""

    user_id: str
    until: int


class Signer:
    """Makes and reads tokens under a key. What a token is for is part of what is signed."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, what: msgspec.Struct) -> str:
        """Return a token of characters that an address may hold."""
        payload = msgspec.msgpack.encode(what)
        return _written(payload + self._mac(payload))

    def read(self, token: str, kind: type[T]) -> T:
        """Return what a token was made of.

        Raises:
            LinkBroken: it is none of ours, or for something else.
        """
        found: Any = None
        if len(token) <= MAX_TOKEN and token.isascii():
            try:
                raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            except (binascii.Error, ValueError):
                raw = b""
            payload, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
            # One token, one spelling: the last character has bits to spare.
            if payload and _written(raw) == token and hmac.compare_digest(mac, self._mac(payload)):
                try:
                    found = msgspec.msgpack.decode(payload, type=kind)
                except msgspec.DecodeError:
                    found = None
        if found is None:
            raise LinkBroken("this is no link of ours, or a part of it is missing: copy it whole")
        return found  # type: ignore[no-any-return]

    def _mac(self, payload: bytes) -> bytes:
        return hmac.new(self._key, payload, hashlib.sha256).digest()[:_MAC_BYTES]


def _written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def until(moment: datetime) -> int:
    """Return a moment as tokens hold it."""
    return to_micros(moment)


def check(until_: int, now: datetime) -> None:
    """Make sure that a token still counts. Raises LinkExpired."""
    if from_micros(until_) <= now:
        raise LinkExpired("this link was good for a time that is over: use the one of a newer message")
