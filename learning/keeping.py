"""How policy versions are kept: sealed bytes, a full copy a day, differences in between, and for how long.

A row keeps forever what a replay needs: specification and numbers. Weights are kept for `WEIGHTS_KEPT` after
the next version took charge, and only if a decision used them. Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from learning.errors import BrokenWeights

# How long a decision can be scored again after its version was followed by another.
WEIGHTS_KEPT = timedelta(days=90)
# The newest versions stay whole, used or not: what training goes on from should the last ones be damaged.
SPARE = 3
# A process that follows late may still be about to make the first decision by a version.
_GRACE = timedelta(hours=1)
_DIGEST = 16


class Row(NamedTuple):
    """What is kept of a version of one policy; `base` is the version its weights are a difference to."""

    version: str
    created_at: datetime
    used: bool
    base: str | None
    weights: bool
    state: bool


class Letting(NamedTuple):
    """Versions to let go of: as a whole, of their weights, of what the learner would go on from."""

    rows: list[str]
    weights: list[str]
    states: list[str]


def seal(data: bytes) -> bytes:
    """Return the bytes behind their digest.

    >>> opened(seal(b"weights"))
    b'weights'
    """
    return _digest(data) + data


def opened(sealed: bytes) -> bytes:
    """Return what was sealed.

    Raises:
        BrokenWeights: the bytes were cut short or changed.
    """
    data = sealed[_DIGEST:]
    if _digest(data) != sealed[:_DIGEST]:
        raise BrokenWeights(
            f"{len(sealed)} bytes of a policy version do not have the digest they were kept under"
        )
    return data


def difference(base: bytes, data: bytes) -> bytes | None:
    """Return how `data` differs from `base`, exactly; None where a full copy is hardly larger.

    Places that are equal cost nothing. The digest is that of `data`, so that a wrong base is found out too.

    >>> base = bytes(1000)
    >>> changed = base[:500] + b"1" + base[501:]
    >>> len(difference(base, changed)) < 40
    True
    >>> applied(base, difference(base, changed)) == changed
    True
    """
    if len(base) != len(data):
        return None
    packed = zlib.compress(_xor(base, data), 6)
    return _digest(data) + packed if 2 * len(packed) < len(data) else None


def applied(base: bytes, kept: bytes) -> bytes:
    """Return the bytes whose difference to `base` was kept.

    Raises:
        BrokenWeights: the difference or its base is damaged.
    """
    try:
        changes = zlib.decompress(kept[_DIGEST:])
    except zlib.error as error:
        raise BrokenWeights(
            f"the difference of a policy version to its day's copy is damaged: {error}"
        ) from error
    if len(changes) != len(base) or _digest(data := _xor(base, changes)) != kept[:_DIGEST]:
        raise BrokenWeights("a policy version's difference does not fit the copy of its day")
    return data


def letting(rows: Sequence[Row], now: datetime) -> Letting:
    """Return what no longer has to be kept of one policy's versions, which come oldest first.

    The copy of a day stays as long as a difference to it does.
    """
    old = rows[:-SPARE]
    ended = [following.created_at for following in rows[1 : len(old) + 1]]
    lasting = [one.used and now - end < WEIGHTS_KEPT for one, end in zip(old, ended, strict=True)]
    needed = {one.base for one, lasts in zip(old, lasting, strict=True) if lasts}
    needed |= {one.base for one in rows[-SPARE:]}
    return Letting(
        rows=[
            one.version
            for one, end in zip(old, ended, strict=True)
            if not one.used and now - end >= _GRACE and one.version not in needed
        ],
        weights=[
            one.version
            for one, lasts in zip(old, lasting, strict=True)
            if one.used and one.weights and not lasts and one.version not in needed
        ],
        states=[one.version for one in old if one.state],
    )


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST).digest()


def _xor(one: bytes, other: bytes) -> bytes:
    return (np.frombuffer(one, dtype=np.uint8) ^ np.frombuffer(other, dtype=np.uint8)).tobytes()
