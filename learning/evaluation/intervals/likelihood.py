"""The likelihood-ratio interval of a proportion, at the size the log is worth.

Rewards in [low, high] are read as shares of `high`, and the log as `size` draws of them. The size is what
independent draws would need to be as uncertain as the estimate is: v (1 - v) / variance (Korn and Graubard,
"Confidence intervals for proportions with small expected number of positive counts estimated from survey
data", Survey Methodology 1998). The variance is the larger of two:

    observed   of the estimate's influence, users being independent
    implied    what the weights would give if rewards were all or nothing with mean v, whichever came up

Few heavy rounds seldom hold a reward, and then the observed variance is far too small; the implied one is
not. The interval is all v with 2 size KL(estimate, v) <= the quantile of chi² (Brown, Cai and DasGupta,
"Interval estimation for a binomial proportion", Statistical Science 2001).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtri, rel_entr

from learning.evaluation import units
from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.terms import Terms

# From so many effective rounds on, and so many of them rewarded, the observed variance speaks for itself.
_ENOUGH_UNITS = 100.0
_ENOUGH_REWARDED = 30.0
_EDGE = 1e-12


def likelihood(terms: Terms, rounds: Weighed, confidence: float) -> tuple[float, float] | None:
    """Return low and high; None where the estimate does not use the rewards (the direct method)."""
    if not np.any(terms.correction):
        if terms.base is not None:
            return None
        if not rounds.weights.any():
            return rounds.low, rounds.high
    spread = rounds.high - rounds.low
    at = min(max((terms.value - rounds.low) / spread, 0.0), 1.0)
    low, high = proportion(at, effective_size(terms, rounds), confidence)
    return rounds.low + low * spread, rounds.low + high * spread


def effective_size(terms: Terms, rounds: Weighed) -> float:
    """Return how many draws of a proportion would be as uncertain as the estimate is."""
    weights = rounds.weights if terms.scale is None else terms.scale
    kish = _kish(weights)
    if kish == 0.0:
        return 0.0
    spread = rounds.high - rounds.low
    at = min(max((terms.value - rounds.low) / spread, 0.0), 1.0)
    # Half a reward and half a miss more: an estimate at the edge is not certain of itself.
    mean = (at * kish + 0.5) / (kish + 1)
    observed = (units.error(rounds, terms.influence) / spread) ** 2
    above = weights * (rounds.rewards - rounds.low)
    rewarded = _kish(above)
    binary = bool(np.all((rounds.rewards == rounds.low) | (rounds.rewards == rounds.high)))
    # Without a model, all-or-nothing rewards can't vary less than is implied.
    free = terms.base is not None or not binary
    trusted = free and kish >= _ENOUGH_UNITS and rewarded >= _ENOUGH_REWARDED
    variance = observed if trusted else max(observed, _implied(terms, rounds, mean, kish))
    if variance == 0.0:
        return kish
    return mean * (1 - mean) / variance if math.isfinite(variance) else 0.0


def proportion(estimate: float, size: float, confidence: float) -> tuple[float, float]:
    """Return all v with 2 size KL(estimate, v) <= chi² of one degree at `confidence`.

    >>> low, high = proportion(0.1, 60.0, 0.95)
    >>> round(low, 3), round(high, 3)
    (0.041, 0.192)
    """
    threshold = float(chdtri(1, 1 - confidence)) / 2

    def excess(v: float) -> float:
        return size * float(rel_entr(estimate, v) + rel_entr(1 - estimate, 1 - v)) - threshold

    low, high = 0.0, 1.0
    if estimate > _EDGE and excess(_EDGE) > 0:
        low = float(brentq(excess, _EDGE, estimate))
    if estimate < 1 - _EDGE and excess(1 - _EDGE) > 0:
        high = float(brentq(excess, max(estimate, _EDGE), 1 - _EDGE))
    return low, high


def _kish(weights: FloatArray) -> float:
    """Return (Σ w)² / Σ w²: how many equal weights are worth as much. Kish, "Survey Sampling" (1965)."""
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def _implied(terms: Terms, rounds: Weighed, mean: float, kish: float) -> float:
    """Return the variance the estimate would have if rewards were all or nothing with `mean`, in shares²."""
    if terms.base is None and terms.scale is not None:
        return mean * (1 - mean) / kish
    weights = rounds.weights
    n = len(rounds)
    # Weights that average less than 1 have not come up as often as they will: the log is worth less than n.
    total = min(float(weights.sum()), n)
    if terms.base is None:
        second = float(np.square(weights).sum()) * n / total**2
        return max(second * mean - mean**2, 0.0) / n
    spread = rounds.high - rounds.low
    q_chosen, _ = rounds.model()
    predicted = (q_chosen - rounds.low) / spread
    residual = weights**2 * (mean * (1 - 2 * predicted) + predicted**2)
    return (float(np.sum(residual)) / total**2) + float(np.var(terms.base)) / spread**2 / n
