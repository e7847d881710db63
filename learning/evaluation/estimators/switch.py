"""Switch-DR: doubly robust where weights are moderate, the model alone beyond."""

from __future__ import annotations

import numpy as np

from learning.evaluation.estimators.estimator import Estimator
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms


def switch_doubly_robust(rounds: Weighed, largest: float) -> Terms:
    """Wang, Agarwal and Dudík, "Optimal and Adaptive Off-policy Evaluation" (ICML 2017)."""
    q_chosen, q_candidate = rounds.model()
    switched = np.where(rounds.weights <= largest, rounds.weights, 0.0)
    return Terms(switched * (rounds.rewards - q_chosen), base=q_candidate)


SWITCH_DOUBLY_ROBUST = Estimator(
    "switch_dr",
    "Switch-DR",
    switch_doubly_robust,
    needs_model=True,
    parameter=5.0,
    symbol="the weight to switch at",
)
