"""When to try again, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Retry:
    """At most `attempts` attempts, with a delay that doubles from `first` up to `longest`."""

    attempts: int = 6
    first: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(hours=1)

    def delay(self, key: str, attempt: int) -> timedelta | None:
        """Return how long to wait after attempt number `attempt` (from 1) failed, None when it was the last.

        Between half and the whole of the doubled delay, by a hash of key and attempt: messages that failed
        together do not come back together, and the same message always waits the same.
        """
        if attempt >= self.attempts:
            return None
        doubled = min(self.first * 2.0 ** min(attempt - 1, 32), self.longest)
        digest = blake2b(f"{key}:{attempt}".encode(), digest_size=8).digest()
        return doubled * (0.5 + int.from_bytes(digest) / 2**65)
