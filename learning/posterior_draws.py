"""Thompson sampling with an exact vector: how often each arm is best in a stated number of posterior draws.

Thompson, "On the likelihood that one unknown probability exceeds another" (Biometrika 1933). Sampling once
and taking the best arm has a propensity nobody can state; here the vector is the frequencies of `draws`
samples, and the arm is drawn from that vector, so its propensity is exact. Samples come from a hash of the
request: the same record gives the same vector for ever.

Each arm is sampled from its own posterior, not jointly with the others, so that one deviation an arm is all
that has to be recorded. Arms share weights, so this explores somewhat more than joint samples would.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from learning.errors import InvalidScores
from learning.exploration import FloatArray, checked_scores, with_floor

# Quantiles of the normal distribution that 16 random bits choose among; the outermost lie at ±4.3. Rounded,
# so that another version of SciPy makes the same table.
_BITS = 16
_NORMAL: FloatArray = np.round(ndtri((np.arange(1 << _BITS) + 0.5) / (1 << _BITS)), 9)
_DRAWS_A_WORD = 64 // _BITS


def thompson(
    values: FloatArray, deviations: FloatArray, draws: int, seed: bytes, floor: float = 0.0
) -> FloatArray:
    """Give each arm the share of posterior draws in which it is the best one, plus the floor.

    Args:
        values: expected values, shape (k,), k >= 1, finite.
        deviations: their standard deviations, shape (k,), finite, at least 0; equally good arms that are
            both certain share.
        draws: how many samples, at least 1; shares are multiples of 1 / draws before the floor.
        seed: 16 bytes; equal seeds give equal vectors.
        floor: total mass in [0, 1] spread over all arms.

    Raises:
        InvalidScores: an argument is out of range.

    >>> seed = bytes(range(16))
    >>> thompson(np.array([0.5, 0.5, 0.0]), np.array([0.1, 0.1, 0.0]), 1000, seed).tolist()
    [0.532, 0.468, 0.0]
    >>> thompson(np.array([0.2, 0.2, 0.0]), np.zeros(3), 100, seed, floor=0.3).round(6).tolist()
    [0.45, 0.45, 0.1]
    """
    values = checked_scores(values)
    deviations = np.asarray(deviations, dtype=np.float64)
    if (
        values.ndim != 1
        or deviations.shape != values.shape
        or not ((deviations >= 0) & (deviations < np.inf)).all()
    ):
        raise InvalidScores("each score needs a deviation that is finite and not below 0")
    if draws < 1 or len(seed) != 16:
        raise InvalidScores(
            f"thompson needs 1 draw or more and a seed of 16 bytes, not {draws} and {len(seed)}"
        )
    sampled = _normals(draws, len(values), seed) * deviations + values
    if np.count_nonzero(deviations) < len(values) - 1:
        best = sampled == sampled.max(axis=1, keepdims=True)
        shares = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    else:
        shares = np.bincount(sampled.argmax(axis=1), minlength=len(values)) / draws
    return with_floor(shares, floor)


def _normals(draws: int, arms: int, seed: bytes) -> FloatArray:
    """Return draws × arms standard normals; NumPy keeps the raw bits of a bit generator the same for ever."""
    words = np.random.Philox(key=int.from_bytes(seed, "little")).random_raw(-(-draws * arms // _DRAWS_A_WORD))
    bits = words.astype("<u8").view("<u2")[: draws * arms]
    normals: FloatArray = _NORMAL[bits].reshape(draws, arms)
    return normals
