"""Whether a presented key counts: answered from memory, never more than a second behind the database.

Every key is kept in memory, so that a key that does not exist costs no look into the database either. Where
other processes may change keys, what is remembered is read anew while it is still good enough, beside the
requests, and after `_MAX_AGE` seconds nothing is answered from it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from hmac import compare_digest

import structlog

from decision.auth.errors import KeyExpired, KeyRevoked, KeyUnknown
from decision.auth.models import Key, hash_secret, parse
from decision.auth.service import Keys
from storage.errors import DatabaseUnavailable, NextplayError

_log = structlog.get_logger(__name__)

# A key taken back elsewhere ends within a second.
_MAX_AGE = 0.9
_RENEW_AGE = 0.4
# A key made elsewhere is found this soon; more often than this nobody makes the database look for one.
_LOOK_AGAIN_AGE = 0.1
# Whoever waits for a database that is away is told so after this.
_PATIENCE_SECONDS = 2.0
# How often a use is noted.
_USE_SECONDS = 3600.0
# How moments are told.
_MINUTE = "%Y-%m-%d %H:%M UTC"
_LONG_AGO = float("-inf")


class Verifier:
    """Verifies keys on one event loop."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._known: Mapping[bytes, Key] = {}
        self._read_at = _LONG_AGO
        self._generation = -1
        self._reading: asyncio.Task[None] | None = None
        self._note_use_at: dict[str, float] = {}

    async def verify(self, key_id: bytes, secret: bytes) -> Key:
        """Return the key of this id and secret.

        Raises:
            KeyUnknown: there is no such key, or its secret is another.
            KeyExpired, KeyRevoked: it was one.
            DatabaseUnavailable: keys can't be read, so it can't be said whether this one still counts.
        """
        key = self.at_once(key_id, secret)
        if key is None:
            await self._read()
            key = self._verified(key_id, secret)
        return key

    def at_once(self, key_id: bytes, secret: bytes) -> Key | None:
        """Return the key as `verify` does, None where keys have to be read first."""
        age = self._age()
        if age > _MAX_AGE or (key_id not in self._known and age > _LOOK_AGAIN_AGE):
            return None
        if age > _RENEW_AGE:
            self._begin_to_read()
        return self._verified(key_id, secret)

    def _verified(self, key_id: bytes, secret: bytes) -> Key:
        key = self._known.get(key_id)
        # The comparison takes the same time wherever the two differ.
        if key is None or not compare_digest(hash_secret(secret), key.hash):
            raise KeyUnknown("the key is not one of this service: check that all of it was copied")
        if key.revoked_at is not None:
            raise KeyRevoked(f"the key {key.id} was revoked on {key.revoked_at:{_MINUTE}}: ask for a new one")
        if key.expires_at is not None and key.expires_at <= self._keys.now():
            raise KeyExpired(f"the key {key.id} expired on {key.expires_at:{_MINUTE}}: ask for a new one")
        self._note_use(key)
        return key

    async def verify_text(self, text: str) -> Key:
        """Return the key of this text (see `verify`)."""
        if (parts := parse(text)) is None:
            raise KeyUnknown("what was sent is not the text of a key: it begins with np_")
        return await self.verify(parts.id.encode(), parts.secret.encode())

    def _age(self) -> float:
        """Return for how many seconds what is remembered may have been wrong."""
        if self._generation != self._keys.generation:
            return float("inf")
        return time.monotonic() - self._read_at if self._keys.shared else 0.0

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await asyncio.shield(self._begin_to_read())
                # It may have begun before a change of ours, or have taken too long.
                while self._age() > _MAX_AGE:
                    await asyncio.shield(self._begin_to_read())
        except TimeoutError:
            raise DatabaseUnavailable("the keys can't be read: the database is too slow; try again") from None

    def _begin_to_read(self) -> asyncio.Task[None]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all())
            self._reading.add_done_callback(_note_failure)
        return self._reading

    async def _read_all(self) -> None:
        started, generation = time.monotonic(), self._keys.generation
        keys = await asyncio.to_thread(self._keys.all)
        self._known = {key.id.encode(): key for key in keys}
        self._read_at, self._generation = started, generation

    def _note_use(self, key: Key) -> None:
        now = time.monotonic()
        if now >= self._note_use_at.get(key.id, _LONG_AGO):
            self._note_use_at[key.id] = now + _USE_SECONDS
            self._keys.touch(key.id)


def _note_failure(reading: asyncio.Task[None]) -> None:
    if not reading.cancelled() and (error := reading.exception()) is not None:
        said = str(error) if isinstance(error, NextplayError) else repr(error)
        _log.warning("keys can't be read", error=said)
