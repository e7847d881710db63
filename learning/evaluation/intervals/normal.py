"""The normal interval: right when many rounds carry the weight, far too short when few do."""

from __future__ import annotations

import math

from scipy.special import stdtrit

from learning.evaluation import units
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms


def normal(terms: Terms, rounds: Weighed, confidence: float) -> tuple[float, float]:
    """Value ± Student's t of (units - 1) degrees times the cluster-robust standard error."""
    error = units.error(rounds, terms.influence)
    if not math.isfinite(error):
        return -math.inf, math.inf
    reach = float(stdtrit(units.number(rounds) - 1, (1 + confidence) / 2)) * error
    return terms.value - reach, terms.value + reach
