"""How far a labelled sample is from the population it is to speak for.

Of each feature the population stability index over bins of the population (Siddiqi, Credit Risk Scorecards,
2006): the sum over bins of (sample − population) · ln(sample / population), missing values being a bin. Below
0.1 both are alike, from 0.25 on the sample is another population. An index is trusted only as far as its own
noise: of n sampled users in b bins it is about (b − 1) / n for a sample drawn from the population (it is then
χ² distributed over n), and an index is called drift only if it is beyond that by chance once in a hundred.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

BINS = 10
# Sampled users for each bin: of fewer, an index says nothing.
_A_BIN = 5
MODERATE, LARGE = 0.1, 0.25
CONFIDENCE = 0.99
# Of an empty bin, half a user: the logarithm of nothing is not a number.
_EMPTY = 0.5


def drift(
    sample: Mapping[str, Sequence[Any]], population: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    """The index of each feature, largest first, and whether it is `none`, `moderate` or `large`.

    Both map features to values of users: numbers, text, bools, times as numbers, or None.
    """
    found = []
    for name, values in sample.items():
        ours, theirs = _counts(values, population[name])
        index, limit = _index(ours, theirs)
        grade = "none" if index < max(MODERATE, limit) else "moderate" if index < LARGE else "large"
        found.append({"feature": name, "psi": round(index, 4), "noise": round(limit, 4), "drift": grade})
    return sorted(found, key=lambda one: (-float(str(one["psi"])), str(one["feature"])))


def _index(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float]:
    used = (ours + theirs) > 0
    ours, theirs = ours[used], theirs[used]
    if len(ours) < 2:
        return 0.0, 0.0
    size, of = ours.sum(), theirs.sum()
    a, b = np.maximum(ours, _EMPTY) / size, np.maximum(theirs, _EMPTY) / of
    index = float(((a - b) * np.log(a / b)).sum())
    noise = float(chdtri(len(ours) - 1, 1 - CONFIDENCE)) * (1 / size + 1 / of)
    return index, noise


def _counts(
    sample: Sequence[Any], population: Sequence[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    bins = min(BINS, max(2, len(sample) // _A_BIN))
    known = [value for value in population if value is not None]
    if known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        edges = np.unique(np.quantile(np.asarray(known, dtype=np.float64), np.arange(1, bins) / bins))
        return _numbers(sample, edges), _numbers(population, edges)
    return _words(sample, population, bins)


def _numbers(values: Sequence[Any], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.asarray([value for value in values if value is not None], dtype=np.float64)
    bins = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    return np.append(bins, len(values) - len(known)).astype(np.float64)


def _words(
    sample: Sequence[Any], population: Sequence[Any], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    theirs: dict[Any, int] = {}
    for value in population:
        theirs[value] = theirs.get(value, 0) + 1
    # The commonest words have bins of their own; all others share one.
    common = sorted((v for v in theirs if v is not None), key=lambda v: (-theirs[v], str(v)))[: bins - 1]
    places = {word: place for place, word in enumerate(common)}

    def counted(values: Sequence[Any]) -> NDArray[np.float64]:
        counts = np.zeros(len(common) + 2)
        for value in values:
            counts[-1 if value is None else places.get(value, len(common))] += 1
        return counts

    return counted(sample), counted(population)
