"""Inverse propensity scores: each reward counts as often as the candidate would have made it come up."""

from __future__ import annotations

import numpy as np

from learning.evaluation.estimators.estimator import Estimator
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms


def ips(rounds: Weighed, _: float) -> Terms:
    """Horvitz and Thompson (JASA 1952); Strehl, Langford, Li and Kakade (NeurIPS 2010)."""
    return Terms(rounds.weights * rounds.rewards)


def clipped_ips(rounds: Weighed, largest: float) -> Terms:
    """IPS with weights cut to `largest`: less variance, some bias. Ionides (JCGS 2008)."""
    return Terms(np.minimum(rounds.weights, largest) * rounds.rewards)


IPS = Estimator("ips", "inverse propensity score", ips)
CLIPPED_IPS = Estimator(
    "clipped_ips", "clipped IPS", clipped_ips, parameter=20.0, symbol="the largest weight"
)
