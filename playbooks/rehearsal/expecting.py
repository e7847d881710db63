"""What to expect of many users from what is known of a sample of them."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_DIGITS = 2
_Z = 1.959963984540054  # normal quantile of 97.5 %


class Expected(msgspec.Struct, frozen=True):
    """A number that is drawn: its expectation, and an interval that has it 95 times of 100; to hundredths."""

    expected: float
    low: float
    high: float


NOTHING = Expected(0.0, 0.0, 0.0)


def expect(means: FloatArray, variances: FloatArray, users: int, most: float = 1.0) -> Expected:
    """Return what the sum over all users comes to, each of whom draws something.

    The variance has two parts: that of the draws of all users, and that of having seen only a simple random
    sample without replacement (Cochran, "Sampling Techniques" (1977), 2.9, with the finite correction). The
    interval is a normal approximation.

    Args:
        means: of each sampled user what is expected of the draw, shape (sample,).
        variances: of each sampled user the variance of the draw, shape (sample,).
        users: how many there are, at least as many as sampled.
        most: what a user draws at most.

    >>> expect(np.array([0.5, 0.5]), np.array([0.0, 0.0]), 100)
    Expected(expected=50.0, low=50.0, high=50.0)
    """
    sample = len(means)
    if sample == 0:
        return NOTHING if users == 0 else Expected(0.0, 0.0, round(most * users, _DIGITS))
    mean = float(means.mean())
    seen = float(means.var(ddof=1)) if sample > 1 else most**2 / 4
    variance = users * float(variances.mean())
    variance += users**2 * (1 - sample / users) * seen / sample
    spread = _Z * math.sqrt(max(0.0, variance))
    total = mean * users
    low, high = max(0.0, total - spread), min(most * users, total + spread)
    return Expected(round(total, _DIGITS), round(low, _DIGITS), round(high, _DIGITS))
