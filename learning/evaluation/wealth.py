"""Betting against a value: what a gambler would own if the policy's value were v.

An estimating function Z(v) = a - v s has mean 0 at the true value v, for each independent unit whatever came
before. A gambler who stakes u of what can be lost on Z being positive multiplies the wealth by
1 + u Z(v) / -min Z(v), with u in [0, 1), which stays positive and can't grow on average if v is true. What
makes the gambler rich is not the value. Waudby-Smith and Ramdas, "Estimating means of bounded random
variables by betting" (JRSS B 2023); for weighted rewards Karampatziakis, Langford and Mineiro, "Empirical
likelihood for contextual bandits" (NeurIPS 2020) and "Off-policy confidence sequences" (ICML 2021).

With s the weight and a the weighted reward, E[w] = 1 is used: the noise is that of w (r - v).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from learning.evaluation import units
from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.terms import Terms

# How near to the bounds of the value the search begins, as a share of their distance.
_EDGE = 1e-9
_PRECISION = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Equation:
    """Z(v) = a - v s of each unit in its order, for values in [low, high]; `counts` says of how many each.

    `a` lies in [a_low, a_high] when `s` is 1 in every round; otherwise `s` is the weight, up to `largest`.
    """

    a: FloatArray
    s: FloatArray
    counts: FloatArray
    low: float
    high: float
    most: int
    a_low: float
    a_high: float
    largest: float | None

    def worst(self, v: float, *, up: bool) -> float:
        """Return how much one unit can lose a bet of 1 that the value is above v (`up`), or below."""
        if self.largest is not None:
            lost = self.largest * (v - self.low if up else self.high - v)
        else:
            lost = v - self.a_low if up else self.a_high - v
        return max(lost * self.most, 0.0)

    def stakes(self, v: float, *, up: bool) -> FloatArray:
        """Return Z(v), or -Z(v) where the bet is that the value is below, as shares of the worst."""
        z = self.a - v * self.s
        # Rounding may take a weight a little beyond the largest, and then more would be lost than there is.
        share: FloatArray = np.maximum((z if up else -z) / self.worst(v, up=up), -1.0)
        return share

    def pooled(self) -> Equation:
        """Return the same with units that are alike counted together, where the order does not matter."""
        pairs, counts = np.unique(self.a + 1j * self.s, return_counts=True)
        return replace(self, a=pairs.real.copy(), s=pairs.imag.copy(), counts=counts.astype(np.float64))


def equation(terms: Terms, rounds: Weighed) -> Equation | None:
    """Return the estimating function of an estimate.

    None for ratios that are not of weights alone, and for estimates that use no reward.
    """
    if not terms.rewarded:
        return None
    most = units.most(rounds)
    if terms.scale is not None:
        if terms.base is not None:
            return None
        a, s = units.summed(rounds, terms.correction), units.summed(rounds, terms.scale)
        largest = rounds.bound if terms.scale is rounds.weights else 1.0
        return Equation(a, s, np.ones(len(a)), rounds.low, rounds.high, most, 0.0, 0.0, largest)
    below, above, base = rounds.low, rounds.high, np.zeros(1)
    if terms.base is not None:
        q_chosen, _ = rounds.model()
        below, above = below - float(q_chosen.max()), above - float(q_chosen.min())
        base = terms.base
    a = units.summed(rounds, terms.correction if terms.base is None else base + terms.correction)
    a_low = min(float(base.min()) + min(rounds.bound * below, 0.0), rounds.low)
    a_high = max(float(base.max()) + max(rounds.bound * above, 0.0), rounds.high)
    s = units.summed(rounds, np.ones(len(rounds)))
    return Equation(a, s, np.ones(len(a)), rounds.low, rounds.high, most, a_low, a_high, None)


def interval(
    eq: Equation, estimate: float, log_wealth: Callable[[float, bool], float], threshold: float
) -> tuple[float, float]:
    """Return the values that leave the gambler, betting either way, with a log wealth below `threshold`.

    `log_wealth(v, up)` is that of betting that the value is above v (`up`) or below; it falls as v nears the
    estimate.
    """
    edge = (eq.high - eq.low) * _EDGE
    precision = (eq.high - eq.low) * _PRECISION
    middle = min(max(estimate, eq.low + edge), eq.high - edge)
    low, high = eq.low, eq.high
    if log_wealth(eq.low + edge, True) > threshold:
        low = _crossing(lambda v: log_wealth(v, True) - threshold, eq.low + edge, middle, precision)
    if log_wealth(eq.high - edge, False) > threshold:
        high = _crossing(lambda v: log_wealth(v, False) - threshold, eq.high - edge, middle, precision)
    return low, high


def _crossing(excess: Callable[[float], float], outside: float, inside: float, precision: float) -> float:
    if excess(inside) >= 0:
        return inside
    return float(brentq(excess, outside, inside, xtol=precision))
