"""The likelihood-ratio interval of a proportion, of the size and the skewness that the log is worth.

Rewards in [low, high] are read as shares of `high`, and the log as `size` draws of them. The size is what
independent draws would need to be as uncertain as the estimate is: v (1 - v) / variance (Korn and Graubard,
"Confidence intervals for proportions with small expected number of positive counts estimated from survey
data", Survey Methodology 1998). The variance is the larger of two:

    observed   of the estimate's influence, users being independent
    implied    what the weights would give if rewards were all or nothing with mean v, whichever came up

Few heavy rounds seldom hold a reward, and then the observed variance is far too small; the implied one is
not. The interval is all v with 2 size KL(estimate, v) <= the quantile of chi² (Brown, Cai and DasGupta,
"Interval estimation for a binomial proportion", Statistical Science 2001).

Amounts of money and users who come back are not like a proportion: few large sums carry the estimate. A log
without them looks poor and exact at once, so that the interval misses above what it missed below. Where there
is enough to see it, one bound moves in until the proportion is as skewed as the estimate is, and the quantile
is of F with the degrees of freedom that the variance has (`units.shape`).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtri, fdtri, rel_entr

from learning.evaluation import units
from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.terms import Terms

# From so many effective rounds on, and so many of them rewarded, the observed variance speaks for itself.
_ENOUGH_UNITS = 100.0
_ENOUGH_REWARDED = 30.0
_EDGE = 1e-12


def likelihood(terms: Terms, rounds: Weighed, confidence: float) -> tuple[float, float] | None:
    """Return low and high; None where the estimate does not use the rewards (the direct method)."""
    if not terms.rewarded:
        return None
    if not rounds.weights.any():
        return rounds.low, rounds.high
    spread = rounds.high - rounds.low
    at = min(max((terms.value - rounds.low) / spread, 0.0), 1.0)
    seen = units.shape(rounds, terms.influence)
    if shows_shape(terms, rounds) and _EDGE < at < 1 - _EDGE and seen.error > 0:
        seen = seen._replace(error=_error(terms, rounds, seen.error, at))
        return shaped(terms.value, seen, (rounds.low, rounds.high), confidence)
    low, high = proportion(at, _size(terms, rounds, at, seen.error), confidence)
    return rounds.low + low * spread, rounds.low + high * spread


def shows_shape(terms: Terms, rounds: Weighed) -> bool:
    """Whether the log is enough to see how skewed an estimate is.

    All or nothing, each round by itself, needs no look: it is skewed as a proportion is.
    """
    return _enough(terms, rounds) and (_free(terms, rounds) or rounds.owners is not None)


def shaped(
    value: float, seen: units.Shape, bounds: tuple[float, float], confidence: float
) -> tuple[float, float]:
    """Return the interval of a mean within bounds, from how it varies.

    It is that of a proportion with the mean, the error and the skewness seen; `value` lies within the bounds.
    Without an error it is the value, with an infinite one it is the bounds.

    >>> low, high = shaped(2.0, units.Shape(0.5, 0.4, 60.0), (-30, 100), 0.95)
    >>> round(low, 2), round(high, 2)
    (1.25, 3.28)
    """
    if not 0.0 < seen.error < math.inf:
        return (value, value) if seen.error == 0.0 else bounds
    low, high = _as_skewed(value, seen, bounds)
    spread = high - low
    at = (value - low) / spread
    size = at * (1 - at) * (spread / seen.error) ** 2
    below, above = proportion(at, size, confidence, seen.degrees)
    return low + below * spread, low + above * spread


def proportion(
    estimate: float, size: float, confidence: float, degrees: float = math.inf
) -> tuple[float, float]:
    """Return all v with 2 size KL(estimate, v) <= the quantile of chi² of one degree at `confidence`.

    Or of F of 1 and `degrees`, the degrees of freedom of the variance that gave the size.

    >>> low, high = proportion(0.1, 60.0, 0.95)
    >>> round(low, 3), round(high, 3)
    (0.041, 0.192)
    """
    quantile = fdtri(1, degrees, confidence) if math.isfinite(degrees) else chdtri(1, 1 - confidence)
    threshold = float(quantile) / 2

    def excess(v: float) -> float:
        return size * float(rel_entr(estimate, v) + rel_entr(1 - estimate, 1 - v)) - threshold

    low, high = 0.0, 1.0
    if estimate > _EDGE and excess(_EDGE) > 0:
        low = float(brentq(excess, _EDGE, estimate))
    if estimate < 1 - _EDGE and excess(1 - _EDGE) > 0:
        high = float(brentq(excess, max(estimate, _EDGE), 1 - _EDGE))
    return low, high


def _size(terms: Terms, rounds: Weighed, at: float, error: float) -> float:
    """Return how many draws of a proportion would be as uncertain as the estimate is."""
    kish = _kish(_weights(terms, rounds))
    if kish == 0.0:
        return 0.0
    # Half a reward and half a miss more: an estimate at the edge is not certain of itself.
    mean = (at * kish + 0.5) / (kish + 1)
    error = _error(terms, rounds, error, mean) / (rounds.high - rounds.low)
    if error == 0.0:
        return kish
    return mean * (1 - mean) / error**2 if math.isfinite(error) else 0.0


def _error(terms: Terms, rounds: Weighed, observed: float, mean: float) -> float:
    """Return the standard error: as observed, or what a share `mean` of all or nothing would have if more."""
    if _enough(terms, rounds) and _free(terms, rounds):
        return observed
    return max(observed, math.sqrt(_implied(terms, rounds, mean)) * (rounds.high - rounds.low))


def _enough(terms: Terms, rounds: Weighed) -> bool:
    weights = _weights(terms, rounds)
    rewarded = _kish(weights * (rounds.rewards - rounds.low))
    return _kish(weights) >= _ENOUGH_UNITS and rewarded >= _ENOUGH_REWARDED


def _free(terms: Terms, rounds: Weighed) -> bool:
    """Whether rewards may vary less than is implied: not if they are all or nothing, without a model."""
    return terms.base is not None or bool(
        np.any((rounds.rewards != rounds.low) & (rounds.rewards != rounds.high))
    )


def _weights(terms: Terms, rounds: Weighed) -> FloatArray:
    return rounds.weights if terms.scale is None else terms.scale


def _as_skewed(value: float, seen: units.Shape, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the bounds between which a proportion of this mean and error is as skewed as the estimate.

    Its skewness is error · (1 / (value - low) - 1 / (high - value)), so that one of the bounds moves in.
    """
    low, high = bounds
    below, above, wanted = 1 / (value - low), 1 / (high - value), seen.skewness / seen.error
    if wanted >= below - above:
        return value - 1 / (wanted + above), high
    return low, value + 1 / (below - wanted)


def _kish(weights: FloatArray) -> float:
    """Return (Σ w)² / Σ w²: how many equal weights are worth as much. Kish, "Survey Sampling" (1965)."""
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def _implied(terms: Terms, rounds: Weighed, mean: float) -> float:
    """Return the variance the estimate would have if rewards were all or nothing with `mean`, in shares²."""
    if terms.base is None and terms.scale is not None:
        return mean * (1 - mean) / _kish(terms.scale)
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
