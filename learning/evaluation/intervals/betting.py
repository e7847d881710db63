"""The hedged betting interval: a gambler who sets stakes for the number of rounds there are."""

from __future__ import annotations

import math

import numpy as np

from learning.evaluation import units
from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.terms import Terms
from learning.evaluation.wealth import equation, interval

# No more than this share of what can be lost is staked at once.
_MOST = 0.5


def betting(terms: Terms, rounds: Weighed, confidence: float) -> tuple[float, float] | None:
    """Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (JRSS B 2023), 4.

    Stakes sqrt(2 ln(2/α) / (n σ²)) with σ² the variance so far, in the order of the log. Valid for any number
    of rounds; None where the estimate has no estimating function.
    """
    eq = equation(terms, rounds)
    n = units.number(rounds)
    if eq is None:
        return None
    alpha = 1 - confidence
    sizes = np.arange(1, n + 1)
    spread = eq.high - eq.low
    # What was known before each unit: the ratio so far, from a prior of half a reward in one unit.
    start = float(eq.s.mean()) if eq.largest is None else 1.0
    so_far = (np.cumsum(eq.a) + start * (eq.low + spread / 2)) / (np.cumsum(eq.s) + start)
    before = np.concatenate([[eq.low + spread / 2], so_far[:-1]])
    squares = (eq.a - before * eq.s) ** 2
    variance = (np.cumsum(squares) + spread**2 / 4) / (sizes + 1)
    known = np.concatenate([[spread**2 / 4], variance[:-1]])
    wished = np.sqrt(2 * math.log(2 / alpha) / (n * known))

    def staked(v: float, up: bool) -> FloatArray:
        return np.minimum(wished * eq.worst(v, up=up), _MOST)

    def log_wealth(v: float, up: bool) -> float:
        return float(np.log1p(staked(v, up) * eq.stakes(v, up=up)).sum())

    return interval(eq, terms.value, log_wealth, math.log(2 / alpha))
