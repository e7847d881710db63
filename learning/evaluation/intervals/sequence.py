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
# What each begins with: more on large stakes, which few rounds of much weight call for.
_BEGINS = 1 / (_PLACES + 2)
LOG_SHARES: FloatArray = np.log(_BEGINS / _BEGINS.sum())
# Cells of a table of logarithms made at a time.
_CELLS = 1_000_000


def confidence_sequence(terms: Terms, rounds: Weighed, confidence: float) -> tuple[float, float] | None:
    """Return what the sequence says after the last round; a mixture of gamblers, by Ville's inequality.

    Each of two mixtures, one for either side, gets half of the error. They need neither the number of rounds
    beforehand nor a look at what comes, so the interval after each round is that of the rounds so far. None
    where the estimate has no estimating function.
    """
    eq = equation(terms, rounds)
    if eq is None:
        return None
    pooled = eq.pooled()

    def log_wealth(v: float, up: bool) -> float:
        return mixed_log_wealth(pooled.stakes(v, up=up), pooled.counts)

    return interval(eq, terms.value, log_wealth, math.log(2 / (1 - confidence)))


def mixed_log_wealth(stakes: FloatArray, counts: FloatArray) -> float:
    """Return the log of what gamblers own together who stake each of `STAKES` all the time."""
    wealth = LOG_SHARES.copy()
    step = _CELLS // len(STAKES)
    for start in range(0, len(stakes), step):
        part = slice(start, start + step)
        wealth += np.log1p(np.multiply.outer(STAKES, stakes[part])) @ counts[part]
    return float(logsumexp(wealth))
