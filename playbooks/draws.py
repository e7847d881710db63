"""Draws as hashes: whatever is drawn for a request can be drawn again from the parts that name it.

A hash instead of a generator's state, so that the draw of any logged decision can be found again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate


def digest_of(parts: tuple[str, ...], size: int = 8, purpose: bytes = b"") -> bytes:
    """Return `size` bytes of BLAKE2b of the parts; different purposes (at most 16 bytes) are independent.

    >>> digest_of(("a", "bc")) == digest_of(("ab", "c"))
    False
    """
    # The length keeps ("ab", "c") apart from ("a", "bc").
    told = b"".join([len(one).to_bytes(4) + one for one in map(str.encode, parts)])
    return blake2b(told, digest_size=size, person=purpose).digest()


def share_of(parts: tuple[str, ...], purpose: bytes = b"") -> float:
    """Return the place in [0, 1) that belongs to the parts: 53 bits of their hash, evenly spread."""
    return (int.from_bytes(digest_of(parts, 8, purpose)) >> 11) * 2.0**-53


def draw_of(seed: str, user_id: str, placement: str, request_key: str) -> float:
    """Return the draw in [0, 1) that belongs to a request."""
    return share_of((seed, user_id, placement, request_key))


def pick(probabilities: Sequence[float], draw: float) -> int:
    """Return the index whose share of [0, 1) contains `draw`; one of probability 0 is never picked."""
    index = bisect_right(list(accumulate(probabilities)), draw)
    if index < len(probabilities):
        return index
    # The sum may end a rounding error below 1, and then a draw above it belongs to the last possible arm.
    return max(place for place, one in enumerate(probabilities) if one)
