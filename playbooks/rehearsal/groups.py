"""Groups of users who are alike in everything that is looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

# What a packed key may come to at most.
_MOST = 2**62


class Look(NamedTuple):
    """One thing that is looked at: of each user one of the codes 0 … kinds - 1, shape (users,)."""

    codes: NDArray[np.integer] | NDArray[np.bool_]
    kinds: int = 2


class Groups(NamedTuple):
    """Users by group: `of` (users,) is each one's group, `first` (groups,) the place of one user of each."""

    of: IntArray
    first: IntArray
    sizes: IntArray


def grouped(users: int, looks: Iterable[Look]) -> Groups:
    """Return the groups of users that no look tells apart.

    >>> grouped(4, [Look(np.array([0, 1, 1, 0])), Look(np.array([2, 0, 0, 1]), 3)]).sizes.tolist()
    [1, 1, 2]
    """
    packed, radix = np.zeros(users, dtype=np.int64), 1
    for look in looks:
        if radix > _MOST // look.kinds:
            packed, radix = _dense(packed)
        packed = packed * look.kinds + look.codes
        radix *= look.kinds
    _, first, of, sizes = np.unique(packed, return_index=True, return_inverse=True, return_counts=True)
    return Groups(of, first, sizes)


def _dense(packed: IntArray) -> tuple[IntArray, int]:
    """Number the different keys, so that there is room for more."""
    found, of = np.unique(packed, return_inverse=True)
    return of.astype(np.int64), max(1, len(found))
