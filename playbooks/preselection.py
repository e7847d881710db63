"""Pre-selection: at most 64 arms of a playbook and 256 in a draw, by values and a hash; pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from playbooks.contest import Contest
from playbooks.draws import share_of
from playbooks.policy import FloatArray

OF_A_PLAYBOOK = 64
OF_A_DRAW = 256
# The rule under which the rest is logged.
PRESELECTION_RULE = "preselection"

# Of the places, the share that goes by a hash of user and arm, so that no arm is out of sight for ever.
_BY_HASH = 4
_PURPOSE = b"preselection"

Places = NDArray[np.intp]


def preselected(contest: Contest, values: FloatArray, seed: str, user_id: str) -> Places | None:
    """Return the places of the arms that take part in the draw, in their order; None when all do.

    Three quarters of the places go to the arms worth most, equal ones in their order, and a quarter to others
    by a hash of the user and the arm: equal requests are cut alike, and every arm is tried on some users.

    Args:
        values: what each arm is worth, shape (k,), without "do nothing", which always takes part.
    """
    if takes_all(contest):
        return None
    counts: dict[str, list[int]] = {}
    for place, owner in enumerate(contest.owners):
        counts.setdefault(owner.key, []).append(place)
    left = [
        place
        for places in counts.values()
        for place in _cut(places, OF_A_PLAYBOOK, contest, values, seed, user_id)
    ]
    return np.array(sorted(_cut(left, OF_A_DRAW - 1, contest, values, seed, user_id)), dtype=np.intp)


def takes_all(contest: Contest) -> bool:
    """Whether all arms take part in a draw."""
    # "Do nothing" is one of those in the draw.
    return len(contest.arms) < OF_A_DRAW and contest.most <= OF_A_PLAYBOOK


def _cut(
    places: Sequence[int], most: int, contest: Contest, values: FloatArray, seed: str, user_id: str
) -> Sequence[int]:
    if len(places) <= most:
        return places
    by_value = sorted(places, key=lambda place: (-values[place], place))
    best, others = by_value[: most - most // _BY_HASH], by_value[most - most // _BY_HASH :]
    others.sort(key=lambda place: share_of((seed, user_id, contest.arms[place].id), _PURPOSE))
    return best + others[: most - len(best)]
