"""Off-policy estimators: the value a candidate policy would have had, from what another policy logged. Pure.

All take arrays over n rounds, shape (n,):

    rewards      what the chosen action brought
    weights      candidate's probability of the chosen action / the propensity it was drawn with, >= 0
    q_chosen     a reward model's prediction for the chosen action
    q_candidate  the model's prediction averaged over the candidate's probabilities of all actions

The model must not have been fitted on the rounds it predicts. The functions ending in `_terms` give what
each round contributes: the estimate is their mean, so intervals can be made from them. Values agree with
Open Bandit Pipeline 0.5.7 (tests/golden) to 1e-9.

>>> rng = np.random.default_rng(7)
>>> weights = rng.gamma(2.0, 0.5, 1000)
>>> rewards = (rng.random(1000) < 0.3).astype(float)
>>> round(ips(rewards, weights), 4), round(snips(rewards, weights), 4)
(0.2739, 0.2908)
>>> model = np.full(1000, 0.3)
>>> round(doubly_robust(rewards, weights, model, model), 4)
0.2913
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from learning.errors import InvalidRounds

FloatArray = NDArray[np.float64]


def direct_method(q_candidate: FloatArray) -> float:
    """Trust the model alone. Beygelzimer and Langford, "The Offset Tree" (KDD 2009)."""
    return _mean(*_checked(q_candidate))


def ips(rewards: FloatArray, weights: FloatArray) -> float:
    """Inverse propensity score. Horvitz and Thompson (JASA 1952); Strehl et al. (NeurIPS 2010)."""
    return clipped_ips(rewards, weights, np.inf)


def clipped_ips(rewards: FloatArray, weights: FloatArray, largest: float) -> float:
    """IPS with weights cut to `largest` > 0: less variance, some bias. Ionides (JCGS 2008)."""
    rewards, weights = _checked(rewards, weights)
    _check_positive("largest", largest)
    return _mean(rewards * np.minimum(weights, largest))


def snips(rewards: FloatArray, weights: FloatArray) -> float:
    """Self-normalised IPS: divide by the sum of weights. Swaminathan and Joachims (NeurIPS 2015).

    Raises:
        InvalidRounds: all weights are 0, so the candidate shares no action with the log.
    """
    rewards, weights = _checked(rewards, weights)
    return float(rewards @ weights / _total(weights))


def sub_gaussian_ips(rewards: FloatArray, weights: FloatArray, lambda_: float) -> float:
    """IPS with weights w / (1 − λ + λ w), λ in [0, 1]. Metelli, Russo and Restelli (NeurIPS 2021)."""
    rewards, weights = _checked(rewards, weights)
    return _mean(rewards * _sub_gaussian(weights, lambda_))


def doubly_robust(
    rewards: FloatArray, weights: FloatArray, q_chosen: FloatArray, q_candidate: FloatArray
) -> float:
    """The model, corrected by weighted residuals. Dudík, Langford and Li (ICML 2011)."""
    return _mean(doubly_robust_terms(rewards, weights, q_chosen, q_candidate))


def doubly_robust_terms(
    rewards: FloatArray, weights: FloatArray, q_chosen: FloatArray, q_candidate: FloatArray
) -> FloatArray:
    """Return each round's part of `doubly_robust`."""
    rewards, weights, q_chosen, q_candidate = _checked(rewards, weights, q_chosen, q_candidate)
    return q_candidate + weights * (rewards - q_chosen)


def self_normalised_doubly_robust(
    rewards: FloatArray, weights: FloatArray, q_chosen: FloatArray, q_candidate: FloatArray
) -> float:
    """DR whose residuals are divided by the mean weight. Kallus and Uehara (NeurIPS 2019).

    Raises:
        InvalidRounds: all weights are 0, so the candidate shares no action with the log.
    """
    rewards, weights, q_chosen, q_candidate = _checked(rewards, weights, q_chosen, q_candidate)
    return float(q_candidate.mean() + weights @ (rewards - q_chosen) / _total(weights))


def switch_doubly_robust(
    rewards: FloatArray, weights: FloatArray, q_chosen: FloatArray, q_candidate: FloatArray, largest: float
) -> float:
    """DR up to the weight `largest`, the model alone beyond. Wang, Agarwal and Dudík (ICML 2017)."""
    rewards, weights, q_chosen, q_candidate = _checked(rewards, weights, q_chosen, q_candidate)
    _check_positive("largest", largest)
    return _mean(q_candidate + np.where(weights <= largest, weights, 0.0) * (rewards - q_chosen))


def optimistic_shrinkage(
    rewards: FloatArray, weights: FloatArray, q_chosen: FloatArray, q_candidate: FloatArray, lambda_: float
) -> float:
    """DR with weights λ w / (w² + λ), λ > 0. Su, Dimakopoulou, Krishnamurthy and Dudík (ICML 2020)."""
    rewards, weights, q_chosen, q_candidate = _checked(rewards, weights, q_chosen, q_candidate)
    _check_positive("lambda", lambda_)
    shrunk = lambda_ * weights / (weights**2 + lambda_)
    return _mean(q_candidate + shrunk * (rewards - q_chosen))


def sub_gaussian_doubly_robust(
    rewards: FloatArray, weights: FloatArray, q_chosen: FloatArray, q_candidate: FloatArray, lambda_: float
) -> float:
    """DR with weights w / (1 − λ + λ w), λ in [0, 1]. Metelli, Russo and Restelli (NeurIPS 2021)."""
    rewards, weights, q_chosen, q_candidate = _checked(rewards, weights, q_chosen, q_candidate)
    return _mean(q_candidate + _sub_gaussian(weights, lambda_) * (rewards - q_chosen))


def _sub_gaussian(weights: FloatArray, lambda_: float) -> FloatArray:
    if not 0.0 <= lambda_ <= 1.0:
        raise InvalidRounds(f"lambda must lie in [0, 1], not be {lambda_}")
    below: FloatArray = 1.0 - lambda_ + lambda_ * weights
    # At λ = 1 a weight of 0 keeps the value it has for every other λ.
    return np.divide(weights, below, out=np.zeros_like(weights), where=below > 0)


def _checked(*arrays: FloatArray) -> tuple[FloatArray, ...]:
    checked = tuple(np.asarray(array, dtype=np.float64) for array in arrays)
    shapes = {array.shape for array in checked}
    if len(shapes) != 1 or checked[0].ndim != 1 or checked[0].size == 0:
        raise InvalidRounds(
            f"an estimate needs arrays of one length, at least 1, not of shapes {sorted(shapes)}"
        )
    if not all(np.isfinite(array).all() for array in checked):
        raise InvalidRounds("rewards, weights and predictions must be finite")
    if len(checked) > 1 and (checked[1] < 0).any():
        raise InvalidRounds("weights are ratios of probabilities and can't be negative")
    return checked


def _total(weights: FloatArray) -> float:
    total = float(weights.sum())
    if total == 0.0:
        raise InvalidRounds(
            "all weights are 0: the candidate never does what was logged, nothing can be said"
        )
    return total


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise InvalidRounds(f"{name} must be above 0, not {value}")


def _mean(values: FloatArray) -> float:
    return float(values.mean())
