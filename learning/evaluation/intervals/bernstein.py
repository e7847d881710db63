"""The empirical Bernstein interval: valid for any number of rounds, and wide where weights can be large."""

from __future__ import annotations

import math

from learning.evaluation import units
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms
from learning.evaluation.wealth import equation


def empirical_bernstein(terms: Terms, rounds: Weighed, confidence: float) -> tuple[float, float] | None:
    """Maurer and Pontil, "Empirical Bernstein bounds …" (COLT 2009), theorem 4.

    On the mean of bounded terms; None for self-normalised estimates, which are not such a mean.
    """
    eq = equation(terms, rounds) if terms.scale is None else None
    n = units.number(rounds)
    if eq is None or n < 2:
        return None
    # A unit's terms are scaled to be of one mean: of sums over units of different sizes.
    per_unit = eq.a / (len(rounds) / n)
    reach_of_one = (eq.a_high - eq.a_low) * eq.most / (len(rounds) / n)
    each = math.log(4 / (1 - confidence))
    variance = float(per_unit.var(ddof=1))
    reach = math.sqrt(2 * variance * each / n) + 7 * reach_of_one * each / (3 * (n - 1))
    return max(terms.value - reach, rounds.low), min(terms.value + reach, rounds.high)
