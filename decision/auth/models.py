"""What a key is: its text, its scopes, and what is kept of it.

The text is `np_<id>_<secret>`: the id is public and names the key in lists and logs,
the secret is shown once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

_ALPHABET = string.digits + string.ascii_letters
_ID_LENGTH = 12
# 62 ** 43 > 2 ** 256.
_SECRET_LENGTH = 43
KEY_PATTERN = rf"np_([0-9A-Za-z]{{{_ID_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})"
_KEY = re.compile(KEY_PATTERN)


class Scope(StrEnum):
    """What a key allows."""

    DECIDE = "decide"
    EVENTS = "events"
    CHECKOUT = "checkout"
    OPERATE = "operate"
    APPROVE = "approve"
    EVALUATE = "evaluate"
    # Of one person: their tasks. Of whoever may take tasks and users away as a file.
    WORK = "work"
    EXPORT = "export"
    ADMIN = "admin"


_ALL = frozenset(Scope)


class KeyText(msgspec.Struct, frozen=True):
    """The two parts of a key's text."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"np_{self.id}_{self.secret}"

    def __repr__(self) -> str:
        return f"np_{self.id}_…"


class Key(msgspec.Struct, frozen=True):
    """What is kept of a key. Its times are real time, also where the service lives on another clock.

    `person` is whose of the staff it is.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    hash: bytes
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    rotated_from: str | None = None
    person: str | None = None

    @property
    def grants(self) -> frozenset[Scope]:
        """The scopes with what they imply: admin implies all."""
        return _ALL if Scope.ADMIN in self.scopes else self.scopes

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """Whether the key counts at a moment."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


def mint() -> KeyText:
    """Return a new key's text; its secret has 256 bits from the operating system."""
    return KeyText(_letters(_ID_LENGTH), _letters(_SECRET_LENGTH))


def parse(text: str) -> KeyText | None:
    """Return the parts of a key's text, None if it is no key's."""
    found = _KEY.fullmatch(text)
    return None if found is None else KeyText(found[1], found[2])


def hash_secret(secret: bytes) -> bytes:
    """Return what is kept of a secret: its SHA-256, 32 bytes.

    A slow hash protects passwords, which can be guessed. A secret of 256 random bits can't be found by
    trying, however fast one try is, and every request pays for the hash.
    """
    return hashlib.sha256(secret).digest()


def ordered(scopes: Iterable[Scope]) -> list[Scope]:
    """Return scopes in the order of their declaration, for those who read them."""
    return sorted(scopes, key=list(Scope).index)


def _letters(number: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(number))
