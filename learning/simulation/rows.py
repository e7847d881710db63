"""What a policy of a race has seen: contexts, what was drawn, and what it earned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Rows before the first scaling of columns, and by how much they grow until the next one.
_FIRST = 2
_GROWTH = 1.2


class Rows:
    """Rows in arrays that grow."""

    def __init__(self, columns: int) -> None:
        self._size = 0
        self._scaled_at = 0
        self._contexts = np.empty((64, columns))
        self._actions = np.empty(64, dtype=np.intp)
        self._rewards = np.empty(64)

    def __len__(self) -> int:
        return self._size

    def grown(self) -> bool:
        """Say whether columns are to be scaled anew: there are a fifth more rows than at the last time."""
        if self._size < max(_FIRST, _GROWTH * self._scaled_at):
            return False
        self._scaled_at = self._size
        return True

    def add(self, context: FloatArray, action: int, reward: float) -> None:
        """Take in a row."""
        if self._size == len(self._actions):
            self._contexts = np.concatenate([self._contexts, np.empty_like(self._contexts)])
            self._actions = np.concatenate([self._actions, np.empty_like(self._actions)])
            self._rewards = np.concatenate([self._rewards, np.empty_like(self._rewards)])
        self._contexts[self._size] = context
        self._actions[self._size] = action
        self._rewards[self._size] = reward
        self._size += 1

    @property
    def contexts(self) -> FloatArray:
        return self._contexts[: self._size]

    @property
    def actions(self) -> NDArray[np.intp]:
        return self._actions[: self._size]

    @property
    def rewards(self) -> FloatArray:
        return self._rewards[: self._size]
