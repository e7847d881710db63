"""Sub-Gaussian weights: a smooth correction under which estimates concentrate like a Gaussian."""

from __future__ import annotations

import numpy as np

from learning.evaluation.estimators.estimator import Estimator
from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.terms import Terms


def sub_gaussian_ips(rounds: Weighed, lambda_: float) -> Terms:
    """IPS with weights w / (1 − λ + λ w). Metelli, Russo and Restelli (NeurIPS 2021)."""
    return Terms(_weights(rounds.weights, lambda_) * rounds.rewards)


def sub_gaussian_dr(rounds: Weighed, lambda_: float) -> Terms:
    """DR with weights w / (1 − λ + λ w), as above."""
    q_chosen, q_candidate = rounds.model()
    return Terms(_weights(rounds.weights, lambda_) * (rounds.rewards - q_chosen), base=q_candidate)


def _weights(weights: FloatArray, lambda_: float) -> FloatArray:
    below: FloatArray = 1.0 - lambda_ + lambda_ * weights
    # At λ = 1 a weight of 0 keeps the value it has for every other λ.
    return np.divide(weights, below, out=np.zeros_like(weights), where=below > 0)


SUB_GAUSSIAN_IPS = Estimator(
    "sub_gaussian_ips",
    "sub-Gaussian IPS",
    sub_gaussian_ips,
    parameter=0.1,
    symbol="lambda",
    upper=1.0,
    from_zero=True,
)
SUB_GAUSSIAN_DR = Estimator(
    "sub_gaussian_dr",
    "sub-Gaussian DR",
    sub_gaussian_dr,
    needs_model=True,
    parameter=0.1,
    symbol="lambda",
    upper=1.0,
    from_zero=True,
)
