"""Compares the states of users with what DuckDB computes from the history: both must say the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from feature_repo.incremental.store import StateStore
from feature_repo.snapshots import EVENT_TIMESTAMP, Snapshots

# Sums are added up in another order, and array features are rounded to 32 bits after that.
RELATIVE = 1e-9
RELATIVE_32 = 2e-7
_TINY = 1e-12


class Verified(NamedTuple):
    """How many users were compared, how many have events that the history lacks yet, and what differs."""

    compared: int
    newer: int
    differences: list[str]


def verify(states: StateStore, snapshots: Snapshots, as_of: datetime, limit: int) -> Verified:
    """Compare up to `limit` users of the states with the history as of T, each profile by itself.

    The history must not be ahead of the states. Costs a whole computation of all views.
    """
    history = snapshots.history
    position = max((history.position(event) for event in history.schemas.events), default=0)
    expected: dict[str, dict[str, Any]] = {}
    tables = snapshots.compute(as_of)
    for view in snapshots.specs.views.values():
        if view.of_users:
            for row in tables[view.name].to_pylist():
                expected.setdefault(row.pop(view.key), {}).update(row)
    compared = newer = 0
    differences: list[str] = []
    ahead = states.ahead_of(position)
    users = sorted(expected)
    for start in range(0, len(users), _PAGE):
        page = {user_id: (user_id,) for user_id in users[start : start + _PAGE]}
        found = {one.user_id: one.values for one in states.current(page, as_of)}
        for user_id in users[start : start + _PAGE]:
            if user_id in ahead:
                newer += 1
            elif compared < limit:
                compared += 1
                differences += differing(user_id, expected[user_id], found.get(user_id))
    return Verified(compared, newer, differences)


_PAGE = 500


def differing(user_id: str, expected: Mapping[str, Any], found: Mapping[str, Any] | None) -> list[str]:
    """What differs of one user, a line each; `expected` are rows of snapshots."""
    if found is None:
        return [f"{user_id}: has a history but no state"]
    return [
        f"{user_id}: {name} is {found.get(name)!r} by events and {value!r} by the history"
        for name, value in expected.items()
        if name != EVENT_TIMESTAMP and not same_value(found.get(name), value)
    ]


def same_value(found: Any, expected: Any) -> bool:
    """Whether two values of a feature are the same, as exactly as its type allows."""
    if isinstance(found, np.ndarray) and isinstance(expected, Sequence):
        return len(found) == len(expected) and bool(
            np.allclose(found, np.asarray(expected, np.float32), rtol=RELATIVE_32, atol=_TINY)
        )
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=RELATIVE, abs_tol=_TINY)
    return type(found) is type(expected) and bool(found == expected)
