"""What keeps scripts off forms: how many one address may send, and how fast a form was filled in."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from audiences.forms.definitions import Rate
from storage.times import from_micros, to_micros

# Addresses remembered; who is forgotten may send a burst again.
_BUCKETS = 50_000
_MAC_LENGTH = 32


class Buckets:
    """Token buckets by key, in this process: of several processes each lets its own share through."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, form: str, address: str, rate: Rate) -> bool:
        """Take a token of an address, if there is one left."""
        now = self._clock()
        with self._lock:
            tokens, since = self._kept.pop((form, address), (float(rate.burst), now))
            tokens = min(float(rate.burst), tokens + (now - since) * rate.per_minute / 60)
            allowed = tokens >= 1
            self._kept[form, address] = (tokens - 1 if allowed else tokens, now)
            if len(self._kept) > _BUCKETS:
                self._kept.popitem(last=False)
        return allowed


class Tokens:
    """Tells when a form was opened, under a key so that nobody can say so for us."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, form: str, now: datetime) -> str:
        """Return a token for a form that is opened now."""
        opened = str(to_micros(now))
        return f"{opened}.{self._mac(form, opened)}"

    def opened(self, form: str, token: object) -> datetime | None:
        """Return when the form was opened; None if the token is none of this form."""
        if not isinstance(token, str) or not token.isascii():
            return None
        opened, _, mac = token.partition(".")
        if not hmac.compare_digest(mac, self._mac(form, opened)):
            return None
        return from_micros(int(opened))

    def _mac(self, form: str, opened: str) -> str:
        return hmac.new(self._key, f"{form}:{opened}".encode(), hashlib.sha256).hexdigest()[:_MAC_LENGTH]
