"""Exploration: from scores to an exact probability vector over the eligible arms.

Every function is pure: equal scores give equal vectors. `floor` is a total mass in [0, 1] that is spread
evenly over all k arms, so each gets at least floor / k. Vectors sum to 1 within 1e-12. Functions that take
rows of scores (n, k) make of each row, to the last bit, the vector that they make of it alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from learning.errors import InvalidScores

FloatArray = NDArray[np.float64]


def epsilon_greedy(scores: FloatArray, epsilon: float) -> FloatArray:
    """Give 1 - epsilon to the best arm and spread epsilon over all; equally good arms share.

    Args:
        scores: expected values, shape (k,) or (n, k), k >= 1, finite.
        epsilon: in [0, 1].

    Raises:
        InvalidScores: scores or epsilon out of range.

    >>> epsilon_greedy(np.array([0.1, 0.3, 0.2]), 0.3).round(6).tolist()
    [0.1, 0.8, 0.1]
    >>> epsilon_greedy(np.array([0.3, 0.3, 0.0]), 0.0).tolist()
    [0.5, 0.5, 0.0]
    """
    scores = checked_scores(scores)
    best = scores == scores.max(axis=-1, keepdims=True)
    return with_floor(best / best.sum(axis=-1, keepdims=True), epsilon)


def softmax(scores: FloatArray, temperature: float, floor: float = 0.0) -> FloatArray:
    """Give each arm a share in proportion to exp(score / temperature), plus the floor.

    Args:
        scores: expected values, shape (k,) or (n, k), k >= 1, finite.
        temperature: above 0, in units of the scores.
        floor: total mass in [0, 1] spread over all arms.

    Raises:
        InvalidScores: an argument is out of range.

    >>> softmax(np.array([0.0, 0.0]), 1.0).tolist()
    [0.5, 0.5]
    >>> softmax(np.array([0.2, 0.1]), 0.1).round(6).tolist()
    [0.731059, 0.268941]
    """
    scores = checked_scores(scores)
    _check_positive("temperature", temperature)
    # A gap beyond the range of doubles becomes -inf, whose share is rightly 0.
    with np.errstate(over="ignore"):
        shares = np.exp((scores - scores.max(axis=-1, keepdims=True)) / temperature)
    return with_floor(shares / shares.sum(axis=-1, keepdims=True), floor)


def inverse_gap_weighting(scores: FloatArray, gamma: float, floor: float = 0.0) -> FloatArray:
    """Give each arm below the best 1 / (k + gamma × gap), and the best ones, sharing evenly, the rest.

    Foster and Rakhlin, "Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles"
    (ICML 2020), after Abe and Long (ICML 1999).

    Args:
        scores: expected values, shape (k,) or (n, k), k >= 1, finite.
        gamma: above 0; the larger, the greedier.
        floor: total mass in [0, 1] spread over all arms.

    Raises:
        InvalidScores: an argument is out of range.

    >>> inverse_gap_weighting(np.array([0.5, 0.4]), 80.0).round(6).tolist()
    [0.9, 0.1]
    """
    scores = checked_scores(scores)
    _check_positive("gamma", gamma)
    most = scores.max(axis=-1, keepdims=True)
    best = scores == most
    with np.errstate(over="ignore"):
        vector = 1.0 / (scores.shape[-1] + gamma * (most - scores))
    vector[best] = 0.0
    rest = (1.0 - vector.sum(axis=-1, keepdims=True)) / best.sum(axis=-1, keepdims=True)
    return with_floor(np.where(best, rest, vector), floor)


def with_floor(vector: FloatArray, floor: float) -> FloatArray:
    """Return (1 - floor) of a vector (k,), or of each row (n, k), and `floor` over all its arms; sums are 1.

    Raises:
        InvalidScores: the floor is out of range.
    """
    if not 0.0 <= floor <= 1.0:
        raise InvalidScores(f"the mass to explore with must lie in [0, 1], not be {floor}")
    mixed: FloatArray = (1.0 - floor) * vector + floor / vector.shape[-1]
    vector = mixed / mixed.sum(axis=-1, keepdims=True)
    return vector


def narrowed(vector: FloatArray, scores: FloatArray, places: Sequence[int], floor: float) -> FloatArray:
    """Return a vector in which arms at some places have no more than floor / k, unless they are the best.

    What they lose is the best arms', evenly.

    >>> vector = np.array([0.5, 0.3, 0.2])
    >>> narrowed(vector, np.array([1.0, 0.9, 0.0]), [1], 0.03).round(6).tolist()
    [0.79, 0.01, 0.2]
    """
    best = scores == scores.max()
    limited = np.zeros(len(vector), dtype=bool)
    limited[list(places)] = True
    capped = np.where(limited & ~best, np.minimum(vector, floor / len(vector)), vector)
    result: FloatArray = capped
    result[best] += (1.0 - capped.sum()) / best.sum()
    return result


def checked_scores(scores: FloatArray) -> FloatArray:
    """Return the scores as doubles.

    Raises:
        InvalidScores: they are none, not in rows, or not finite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim not in (1, 2) or scores.size == 0:
        raise InvalidScores(f"scores must be rows of at least one number, not of shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise InvalidScores("scores must be finite; a model gave NaN or infinity")
    return scores


def _check_positive(name: str, value: float) -> None:
    if not 0.0 < value < np.inf:
        raise InvalidScores(f"{name} must be a finite number above 0, not {value}")
