"""Uses that count against limits, of many subjects (users or accounts) as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from playbooks.rehearsal.groups import IntArray, Look


class Threshold(NamedTuple):
    """What is counted under a counter stops something once there are `limit` uses."""

    counter: str
    limit: int


@dataclass(frozen=True)
class CountedUses:
    """A row for each use: `places` of subjects, `counters` as places in `names`, microseconds."""

    places: IntArray
    counters: IntArray
    moments: IntArray
    names: Sequence[str]

    @classmethod
    def none(cls) -> CountedUses:
        """Nobody used anything."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, ())

    def look(self, threshold: Threshold, since: IntArray) -> Look | None:
        """Return how much of a limit each subject has used; None where nobody used any.

        Args:
            since: of each subject the moment after which uses count, in microseconds, shape (subjects,).
        """
        if threshold.counter not in self.names:
            return None
        mine = self.counters == self.names.index(threshold.counter)
        places = self.places[mine]
        counted = places[self.moments[mine] > since[places]]
        used = np.minimum(np.bincount(counted, minlength=len(since)), threshold.limit)
        return Look(used, threshold.limit + 1)
