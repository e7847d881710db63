"""What transforms make of numbers of users or arms: each is worked out once, for however many arms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning.feature_columns import FUNCTIONS
from learning.feature_kinds import Rate, Transform

FloatArray = NDArray[np.float64]
Places = slice | NDArray[np.intp]


class Source(NamedTuple):
    """A number that is read: what it is multiplied by, and how far from 0 it may be then."""

    scale: float
    cap: float


class Made(NamedTuple):
    """A column that is made of one source, or as a rate of two."""

    column: int
    how: Transform | Rate | Literal["missing"]
    sources: Sequence[int]


class Cells:
    """Sources side by side, of so many cells each, and what columns make of them, again as cells."""

    def __init__(self, sources: Sequence[Source], made: Sequence[Made], widths: Sequence[int]) -> None:
        """`widths` are how many cells each source has; those of one rate have equally many."""
        ends = np.cumsum(widths, dtype=np.intp).tolist()
        cells = [range(end - width, end) for end, width in zip(ends, widths, strict=True)]
        # Where the cells of each source begin.
        self.starts = [one.start for one in cells]
        self.width = ends[-1] if ends else 0
        self._scale = np.repeat([one.scale for one in sources], widths)
        self._cap = np.repeat([one.cap for one in sources], widths)
        # Of each column, where what it is made of begins among what `worked_out` gives, which are `size`.
        self.made: dict[int, int] = {}
        self.size = 0
        by_kind: dict[object, list[Made]] = {}
        for one in made:
            by_kind.setdefault("rate" if isinstance(one.how, Rate) else one.how, []).append(one)
        self._steps = [
            (function, self._taken(cells, some), self._laid(cells, some))
            for name, function in FUNCTIONS.items()
            if (some := by_kind.get(name))
        ]
        missing, rates = by_kind.get("missing", []), by_kind.get("rate", [])
        self._missing = (self._taken(cells, missing), self._laid(cells, missing)) if missing else None
        self._rates = _Rates(cells, rates) if rates else None
        self._rated = self._laid(cells, rates)

    def worked_out(self, values: FloatArray, out: FloatArray) -> None:
        """Fill `out`, shape (n, size), from values of n, shape (n, width), which are changed.

        Values that are not finite count as 0.
        """
        present = np.isfinite(values)
        values[~present] = 0.0
        with np.errstate(over="ignore"):
            values *= self._scale
        np.clip(values, -self._cap, self._cap, out=values)
        for function, source, target in self._steps:
            out[:, target] = function(values[:, source])
        if self._missing is not None:
            source, target = self._missing
            out[:, target] = ~present[:, source]
        if self._rates is not None:
            out[:, self._rated] = self._rates.of(values)

    def _laid(self, cells: Sequence[range], some: Sequence[Made]) -> slice:
        """Lay columns out one after the other."""
        before = self.size
        for one in some:
            self.made[one.column] = self.size
            self.size += len(cells[one.sources[0]])
        return slice(before, self.size)

    @staticmethod
    def _taken(cells: Sequence[range], some: Sequence[Made]) -> Places:
        return side_by_side([cells[one.sources[0]] for one in some])


class _Rates:
    """Shares of counts, drawn to what is usual (see `Rate`)."""

    def __init__(self, cells: Sequence[range], some: Sequence[Made]) -> None:
        kinds = [one.how for one in some if isinstance(one.how, Rate)]
        widths = [len(cells[one.sources[0]]) for one in some]
        self._taken, self._tried = (side_by_side([cells[one.sources[n]] for one in some]) for n in (0, 1))
        self._pull = np.repeat([one.pull for one in kinds], widths)
        self._prior = np.repeat([one.pull * one.towards for one in kinds], widths)

    def of(self, values: FloatArray) -> FloatArray:
        taken, tried = (np.maximum(values[:, places], 0.0) for places in (self._taken, self._tried))
        share: FloatArray = (taken + self._prior) / (tried + self._pull)
        return share


def side_by_side(cells: Iterable[range]) -> Places:
    """Return where cells are, as a slice where they lie side by side: that takes a third of the time."""
    found = [one for some in cells for one in some]
    start = found[0] if found else 0
    together = slice(start, start + len(found))
    return together if found == [*range(together.start, together.stop)] else np.array(found, dtype=np.intp)
