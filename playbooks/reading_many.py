"""Features of many users as records keep them and policies see them; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from feature_repo.undecoded import columns_of
from playbooks.eligible import recorded, rounded
from playbooks.policy import FloatArray


class Read(NamedTuple):
    """Users' values by name as records keep them, and those again that are arrays of one shape, as one."""

    users: int
    recorded: dict[str, Sequence[Any]]
    arrays: dict[str, FloatArray]

    def of(self, places: list[int]) -> dict[str, Any]:
        """Return some users' values by name, as a policy is asked about many."""
        if places == [*range(self.users)]:
            return {name: self.arrays.get(name, values) for name, values in self.recorded.items()}
        found: dict[str, Any] = {}
        for name, values in self.recorded.items():
            array = self.arrays.get(name)
            found[name] = [values[place] for place in places] if array is None else array[places]
        return found

    def of_each(self) -> list[dict[str, Any]]:
        """Return by name the values of each of the users, as their record keeps them."""
        if not self.recorded:
            return [{} for _ in range(self.users)]
        each = zip(*self.recorded.values(), strict=True)
        return [dict(zip(self.recorded, values, strict=True)) for values in each]


def read_many(features: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Read:
    """Return of each feature named the users' values, each as `recorded` returns it.

    Args:
        features: each user's, by name.
    """
    found: dict[str, Any] = columns_of(features, names)
    # Arrays of one shape are made ready at once, whatever features they are of.
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, values in found.items():
        kinds = set(map(type, values))
        if np.ndarray not in kinds:
            continue
        shapes = {value.shape for value in values} if len(kinds) == 1 else set()
        if len(shapes) == 1:
            alike.setdefault(shapes.pop(), []).append(name)
        else:
            found[name] = [recorded(value) for value in values]
    arrays: dict[str, FloatArray] = {}
    for shape, some in alike.items():
        together = np.concatenate([value for name in some for value in found[name]])
        exact = rounded(together.reshape(len(some), len(features), *shape))
        for name, values, told in zip(some, exact, exact.tolist(), strict=True):
            arrays[name], found[name] = values, told
    return Read(len(features), found, arrays)
