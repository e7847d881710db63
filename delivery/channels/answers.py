"""What an answer over HTTP says of a message: taken, refused for good, or to be tried again. Pure.

| answer | outcome |
|---|---|
| 2xx | taken, if the body says nothing else |
| 401, 403 | tried again: it is our credentials that are wrong, and they can be put right |
| 408, 425, 429, 5xx | tried again, after `Retry-After` at least |
| 500, 502, 504 | the provider may have taken it nevertheless |
| 3xx, other 4xx | refused for good |
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from delivery.channels.http import Reply
from delivery.errors import NotHandedOver

# Whose refusals may be over later.
_TOO_MANY = 429
_LATER = frozenset((408, 425, _TOO_MANY))
_OURS = frozenset((401, 403))
# Said by what stands before a provider, or by one that failed half-way.
_PERHAPS = frozenset((500, 502, 504))
_LONGEST = timedelta(days=1)


def is_over_later(status: int) -> bool:
    """Say whether what a status refuses may be taken later."""
    return status >= 500 or status in _LATER


def asked_to_wait(headers: Mapping[str, str]) -> timedelta | None:
    """Return how long `Retry-After` asks to wait, as seconds; dates are left to the retry's own delay."""
    said = headers.get("retry-after")
    if said is None or not said.strip().isdigit():
        return None
    return min(timedelta(seconds=min(int(said), 10**6)), _LONGEST)


def refused(host: str, reply: Reply, why: str = "") -> NotHandedOver:
    """Return what an answer that is not of the class 2xx comes to; `why` is what its body says."""
    said = f": {why}" if why else ""
    moved = "; redirects are not followed" if 300 <= reply.status < 400 else ""
    return NotHandedOver(
        f"{host} answered {reply.status}{said}{moved}",
        permanent=not is_over_later(reply.status) and reply.status not in _OURS,
        after=asked_to_wait(reply.headers),
        perhaps=reply.status in _PERHAPS,
        busy=reply.status == _TOO_MANY,
    )


def told(reply: Reply) -> Any:
    """Return the JSON of an answer, None if it is none or was cut off."""
    try:
        return msgspec.json.decode(reply.body) if reply.whole else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def unreadable(host: str, reply: Reply, missing: str) -> NotHandedOver:
    """Return what an answer comes to that says it took the message, but not what has to be in it."""
    how = "no end" if not reply.whole else "nothing" if not reply.body.strip() else missing
    return NotHandedOver(
        f"{host} answered {reply.status} with {how}, so it is not known whether it took the message",
        perhaps=True,
    )
