"""The confidence sequence: intervals that hold at all times at once; one may look after every round."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import logsumexp

from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.terms import Terms
from learning.evaluation.wealth import equation, interval

# Stakes the mixture spreads over, as shares of what one unit can lose: each is 1.3 times the one before, and
# a mixture over them loses little against the best stake in between.
_PLACES = np.arange(36.0)
STAKES: FloatArray = 0.98 * 1.3**-_PLACES
# What each begins with: half on the largest stake, and of the rest most on large ones, which few rounds of
# much weight call for. That little is left for small ones costs many rounds no more than a logarithm.
_LARGEST = 0.5
_BEGINS = 1 / (_PLACES + 1) ** 2
LOG_SHARES: FloatArray = np.log((1 - _LARGEST) * _BEGINS / _BEGINS.sum() + _LARGEST * (_PLACES == 0))
# The share of the error that the lower bound may have; the rest is the upper's. What is looked for is rare
# (clicks, orders), so that little weight with no reward bounds the value from above and hardly from below.
ERROR_BELOW = 0.1
# Cells of a table of logarithms made at a time.
_CELLS = 1_000_000


def confidence_sequence(terms: Terms, rounds: Weighed, confidence: float) -> tuple[float, float] | None:
    """Return what the sequence says after the last round; a mixture of gamblers, by Ville's inequality.

    Each of two mixtures, one for either side, has its part of the error, and both together no more than all
    of it. They need neither the number of rounds beforehand nor a look at what comes, so the interval after
    each round is that of the rounds so far. None where the estimate has no estimating function.
    """
    eq = equation(terms, rounds)
    if eq is None:
        return None
    pooled = eq.pooled()

    def excess(v: float, up: bool) -> float:
        return mixed_log_wealth(pooled.stakes(v, up=up), pooled.counts) - threshold(confidence, up=up)

    return interval(eq, terms.value, excess, 0.0)


def threshold(confidence: float, *, up: bool) -> float:
    """Return the log wealth from which on a gambler rules a value out who bets that it is above (`up`)."""
    return -math.log((1 - confidence) * (ERROR_BELOW if up else 1 - ERROR_BELOW))


def mixed_log_wealth(stakes: FloatArray, counts: FloatArray) -> float:
    """Return the log of what gamblers own together who stake each of `STAKES` all the time."""
    wealth = LOG_SHARES.copy()
    step = _CELLS // len(STAKES)
    for start in range(0, len(stakes), step):
        part = slice(start, start + step)
        wealth += np.log1p(np.multiply.outer(STAKES, stakes[part])) @ counts[part]
    return float(logsumexp(wealth))
