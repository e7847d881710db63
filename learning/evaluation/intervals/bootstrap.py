"""Percentile bootstrap of many estimators on the same resamples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learning.evaluation import units
from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.terms import Terms

# Counts of so many cells are made at a time: 16 MB.
_CELLS = 2_000_000


def resampled(several: Sequence[Terms], rounds: Weighed, times: int, seed: int) -> FloatArray:
    """Return each estimate on `times` resamples of the independent units, shape (times, len(several)).

    Efron (1979). An estimate is a function of sums, so that a resample needs how often each unit was drawn,
    and one product of matrices does all estimators. Not a number where a resample has no weight.
    """
    columns, places = _columns(several, rounds)
    count = units.number(rounds)
    rng = np.random.default_rng(seed)
    sums = np.empty((times, columns.shape[1]))
    step = max(1, min(times, _CELLS // count))
    drawn = np.empty((step, count))
    for start in range(0, times, step):
        rows = min(step, times - start)
        for row in range(rows):
            drawn[row] = np.bincount(rng.integers(0, count, count), minlength=count)
        sums[start : start + rows] = drawn[:rows] @ columns
    ones = sums[:, 0]
    estimates = np.empty((times, len(several)))
    for index, (base, correction, scale) in enumerate(places):
        with np.errstate(invalid="ignore", divide="ignore"):
            estimates[:, index] = sums[:, correction] / sums[:, scale]
        if base is not None:
            estimates[:, index] += sums[:, base] / ones
    return estimates


def percentiles(estimates: FloatArray, confidence: float) -> list[tuple[float, float]]:
    """Return for each column the interval that holds the middle share `confidence` of it."""
    tail = (1 - confidence) / 2
    bounds = np.nanquantile(estimates, [tail, 1 - tail], axis=0)
    return [(float(low), float(high)) for low, high in bounds.T]


def _columns(
    several: Sequence[Terms], rounds: Weighed
) -> tuple[FloatArray, list[tuple[int | None, int, int]]]:
    """Return the distinct columns, the first of ones, and the places of each base, correction and scale."""
    found: dict[int, int] = {}
    kept = [np.ones(len(rounds))]

    def place(array: FloatArray) -> int:
        # Arrays are the same by identity: estimators hand on what the rounds hold.
        if id(array) not in found:
            found[id(array)] = len(kept)
            kept.append(array)
        return found[id(array)]

    places = [
        (
            None if one.base is None else place(one.base),
            place(one.correction),
            0 if one.scale is None else place(one.scale),
        )
        for one in several
    ]
    summed = [units.summed(rounds, column) for column in kept]
    return np.column_stack(summed), places
