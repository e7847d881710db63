"""Did the arms of a fixed split come up as they were set? Looked at as often as one likes. Pure."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln, xlogy

from learning.evaluation.rounds import FloatArray

# Draws that the alternative is worth beforehand: it looks at most for shares that are off by a few per cent.
_CONCENTRATION = 100.0


def sample_ratio(counts: FloatArray, shares: FloatArray) -> float:
    """Return a p-value of the split that holds at all times at once.

    The Bayes factor of a Dirichlet around the shares against the shares themselves is a martingale where the
    split is right, so 1 over it may be looked at after every decision. Lindon and Malek, "Anytime-valid
    inference for multinomial count data" (NeurIPS 2022).

    Args:
        counts: how often each arm was drawn, shape (k,).
        shares: how often it should be, above 0, summing to 1.

    >>> float(round(sample_ratio(np.array([5050.0, 4950.0]), np.array([0.5, 0.5])), 3))
    1.0
    >>> sample_ratio(np.array([5400.0, 4600.0]), np.array([0.5, 0.5])) < 1e-10
    True
    """
    before = _CONCENTRATION * shares
    evidence = (
        gammaln(before.sum())
        - gammaln(before.sum() + counts.sum())
        + float(np.sum(gammaln(before + counts) - gammaln(before)))
        - float(np.sum(xlogy(counts, shares)))
    )
    return min(1.0, math.exp(-min(max(float(evidence), 0.0), 700.0)))
