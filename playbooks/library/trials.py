"""For whom a pilot runs: its hand list, and a share of everybody else that a salted hash picks."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from playbooks.models import Pilot

# 53 bits of a hash, as a number in [0, 1).
_UNIT = 2.0**-53


@dataclass(frozen=True, slots=True)
class Trial:
    """A pilot as it runs: `salt` is the version's own, so that each pilot has other users.

    `alone`: no live version of the playbook serves everybody else.
    """

    salt: str
    users: frozenset[str]
    audience: str | None
    share: float
    alone: bool = True

    @classmethod
    def of(cls, pilot: Pilot, salt: str, *, alone: bool, canonical: Callable[[str], str] = str) -> Trial:
        """Return the trial of a pilot; `canonical` says as whom a listed user is known."""
        return cls(salt, frozenset(map(canonical, pilot.users)), pilot.audience, pilot.share, alone)

    def takes(self, user_id: str, audiences: Set[str]) -> bool:
        """Whether a user takes part; the same user always does."""
        if user_id in self.users or (self.audience is not None and self.audience in audiences):
            return True
        return self.share > 0 and position_of(self.salt, user_id) < self.share


def position_of(salt: str, user_id: str) -> float:
    """Return where in [0, 1) a user lies for a salt: BLAKE2b of both, 53 bits of it."""
    digest = blake2b(user_id.encode(), digest_size=8, key=_key_of(salt))
    return (int.from_bytes(digest.digest()) >> 11) * _UNIT


@lru_cache(maxsize=1024)
def _key_of(salt: str) -> bytes:
    return blake2b(salt.encode(), digest_size=32).digest()


def pilot_rule(playbook: str) -> str:
    """Return the id of the rule that stops a playbook for those who don't take part in its pilot."""
    return f"pilot.{playbook}"
