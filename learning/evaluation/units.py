"""Sums over what is independent: a user's rounds belong together."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning.evaluation.rounds import FloatArray, Weighed


def summed(rounds: Weighed, values: FloatArray) -> FloatArray:
    """Return the sums of `values` over each independent unit; the values where each round is one."""
    return sums(rounds.owners, values)


def sums(owners: NDArray[np.intp] | None, values: FloatArray) -> FloatArray:
    """Return the sums of `values` over each owner; the values where each round is one."""
    if owners is None:
        return values
    found: FloatArray = np.bincount(owners, weights=values).astype(np.float64)
    return found


def earlier(owners: NDArray[np.intp] | None, values: FloatArray) -> FloatArray:
    """Return for each round the sum of `values` over the earlier rounds of its owner, shape (n,).

    >>> earlier(np.array([1, 0, 1, 1]), np.array([1.0, 2.0, 4.0, 8.0])).tolist()
    [0.0, 0.0, 1.0, 5.0]
    """
    if owners is None:
        return np.zeros(len(values))
    order = np.argsort(owners, kind="stable")
    running = np.cumsum(values[order]) - values[order]
    starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(values)))
    found = np.empty(len(values))
    found[order] = running - np.repeat(running[starts], lengths)
    return found


def number(rounds: Weighed) -> int:
    """Return how many independent units there are."""
    return len(rounds) if rounds.owners is None else int(rounds.owners.max()) + 1


def most(rounds: Weighed) -> int:
    """Return how many rounds the largest unit has."""
    return 1 if rounds.owners is None else int(np.bincount(rounds.owners).max())


def error(rounds: Weighed, influence: FloatArray) -> float:
    """Return the standard error of an estimate from its influence, units being independent.

    Liang and Zeger (Biometrika 1986), with the correction m / (m - 1) for m units. Infinite for one unit.
    """
    units = number(rounds)
    if units < 2:
        return float("inf")
    squares = float(np.square(summed(rounds, influence)).sum())
    return float(np.sqrt(units / (units - 1) * squares)) / len(rounds)


class Shape(NamedTuple):
    """How an estimate varies: its standard error, its own skewness (not a unit's), and how many `degrees` of
    freedom the error has, as in Student's t.
    """

    error: float
    skewness: float
    degrees: float


def shape(rounds: Weighed, influence: FloatArray) -> Shape:
    """Return how an estimate varies from its influence, units being independent.

    The degrees are 2 V² / Var(V) for the variance V, from fourth moments: as many as units for normal sums,
    and few where few units carry it. O'Neill, "Some useful moment results in sampling problems" (The
    American Statistician 2014). Nothing is known of the shape for one unit, or where nothing varies.
    """
    found = error(rounds, influence)
    each = summed(rounds, influence)
    squares = float(np.square(each).sum())
    if not math.isfinite(found) or squares == 0.0:
        return Shape(found, 0.0, math.inf)
    # Shares keep tiny and huge rewards within what a number can hold.
    each = each / math.sqrt(squares)
    excess = float(np.square(each * each).sum()) - 1 / len(each)
    return Shape(found, float((each * each * each).sum()), 2 / excess if excess > 0 else math.inf)
