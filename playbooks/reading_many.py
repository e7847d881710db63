"""Features of many users as records keep them and policies see them; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from playbooks.eligible import recorded


def read_many(features: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return of each feature named the users' values, each as `recorded` returns it.

    Args:
        features: each user's, by name.
    """
    found: dict[str, list[Any]] = {name: [one.get(name) for one in features] for name in names}
    # Arrays of one shape are made ready at once, whatever features they are of.
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, values in found.items():
        shape = _shape(values)
        if shape is not None:
            alike.setdefault(shape, []).append(name)
        elif any(isinstance(value, np.ndarray) for value in values):
            found[name] = [recorded(value) for value in values]
    for some in alike.values():
        together = recorded(np.stack([value for name in some for value in found[name]]))
        for at, name in enumerate(some):
            found[name] = together[at * len(features) : (at + 1) * len(features)]
    return found


def _shape(values: Sequence[Any]) -> tuple[int, ...] | None:
    """Return the shape that all of some values have, None where they are no arrays of one."""
    first = values[0] if values else None
    if not isinstance(first, np.ndarray):
        return None
    same = all(isinstance(one, np.ndarray) and one.shape == first.shape for one in values)
    return first.shape if same else None
