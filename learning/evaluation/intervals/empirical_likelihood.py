"""Empirical likelihood: the gambler who knew the best stake beforehand, at the threshold of a chi²."""

from __future__ import annotations

import numpy as np
from scipy.special import fdtri

from learning.evaluation import units
from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.terms import Terms
from learning.evaluation.wealth import equation, interval

_STEPS = 60
# A stake of 1 could lose everything.
_MOST = 1 - 1e-9


def empirical_likelihood(terms: Terms, rounds: Weighed, confidence: float) -> tuple[float, float] | None:
    """Karampatziakis, Langford and Mineiro, "Empirical likelihood for contextual bandits" (NeurIPS 2020).

    The distribution that makes the log likeliest may put mass on any weight and reward there can be, also
    on such as did not come up; so the value is bounded where few rounds carry the weight. The threshold is
    that of F with 1 and n - 1 degrees. None where the estimate has no estimating function.
    """
    eq = equation(terms, rounds)
    n = units.number(rounds)
    if eq is None or n < 2:
        return None
    pooled = eq.pooled()

    def log_wealth(v: float, up: bool) -> float:
        return best_log_wealth(pooled.stakes(v, up=up), pooled.counts)

    return interval(eq, terms.value, log_wealth, float(fdtri(1, n - 1, confidence)) / 2)


def best_log_wealth(stakes: FloatArray, counts: FloatArray) -> float:
    """Return the largest log wealth that any constant stake in [0, 1) would have made; at least 0."""
    if float(counts @ stakes) <= 0:
        return 0.0
    low, high = 0.0, _MOST
    # The log wealth is concave in the stake: its slope is searched for the zero.
    if float(counts @ (stakes / (1 + high * stakes))) < 0:
        for _ in range(_STEPS):
            middle = (low + high) / 2
            if float(counts @ (stakes / (1 + middle * stakes))) > 0:
                low = middle
            else:
                high = middle
    return float(counts @ np.log1p(high * stakes))
