"""Who is in which audience now, in memory: what `decide` asks, without a database, for any user.

Users are known by 16 bytes of a hash of their ids, five million of them in 100 MB; a dictionary of ids would
take ten times that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap
from sqlalchemy import Connection

from audiences.selection import repository
from audiences.selection.repository import Numbered, State

_NOBODY: frozenset[str] = frozenset()
_SORT_AT = 20_000  # users in the dictionary of new ones before they are sorted in
_KEY = np.dtype([("high", "<u8"), ("low", "<u8")])


class Numbering:
    """Numbers of users by id. Numbers are only ever added."""

    def __init__(self) -> None:
        self._high: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._low: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._numbers: NDArray[np.uint32] = np.empty(0, np.uint32)
        self._new: dict[bytes, int] = {}
        self.last = 0

    def get(self, user_id: str) -> int | None:
        """The number of a user; None for one that was never numbered."""
        key = _key(user_id)
        number = self._new.get(key)
        if number is not None:
            return number
        high, low = np.frombuffer(key, np.uint64)
        place = int(self._high.searchsorted(high))
        while place < len(self._high) and self._high[place] == high:
            if self._low[place] == low:
                return int(self._numbers[place])
            place += 1
        return None

    def add(self, numbered: Iterable[Numbered]) -> None:
        """Take in users whose numbers come after all others."""
        for number, user_id in numbered:
            self._new[_key(user_id)] = number
            self.last = max(self.last, number)
            if len(self._new) >= _SORT_AT and len(self._new) * 8 >= len(self._numbers):
                self._sort_in()

    def _sort_in(self) -> None:
        keys = np.frombuffer(b"".join(self._new), _KEY)
        high = np.concatenate([self._high, keys["high"]])
        order = np.argsort(high)
        low = np.concatenate([self._low, keys["low"]])[order]
        numbers = np.concatenate([self._numbers, np.fromiter(self._new.values(), np.uint32, len(keys))])[
            order
        ]
        self._high, self._low, self._numbers = high[order], low, numbers
        self._new = {}


class Memberships:
    """Who is in which audience now. What changed is loaded and swapped in as a whole; reads take no lock."""

    def __init__(self, canonical: Callable[[str], str] = str) -> None:
        """Hold nothing yet; `canonical` says under which id a user's person goes."""
        self.numbering = Numbering()
        self._canonical = canonical
        self._loading = threading.Lock()
        self._live: Mapping[str, State] = {}
        self._members: Mapping[str, BitMap] = {}
        # Those that somebody is in.
        self._populated: Sequence[tuple[str, BitMap]] = ()

    def of(self, user_id: str) -> Set[str]:
        """Return the audiences a user is in."""
        number = self.numbering.get(self._canonical(user_id))
        if number is None:
            return _NOBODY
        return {audience for audience, bitmap in self._populated if number in bitmap}

    def members(self, audience: str) -> BitMap:
        """The numbers of the users in an audience; nobody is in one that was never evaluated."""
        return self._members.get(audience, BitMap())

    @property
    def live(self) -> Mapping[str, State]:
        """What is live of each audience."""
        return self._live

    def load(self, connection: Connection) -> bool:
        """Take what the database holds; only what changed is read. Returns whether anything had."""
        with self._loading:
            return self._load(connection)

    def _load(self, connection: Connection) -> bool:
        live = repository.live(connection)
        if live == self._live:
            return False
        changed = [state for state in live.values() if self._live.get(state.audience) != state]
        loaded = repository.members(connection, changed)
        self.numbering.add(repository.numbers_after(connection, self.numbering.last))
        self._members = {
            audience: loaded[audience] if audience in loaded else self._members[audience] for audience in live
        }
        self._populated = [(audience, bitmap) for audience, bitmap in self._members.items() if bitmap]
        self._live = live
        return True


def _key(user_id: str) -> bytes:
    return blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
