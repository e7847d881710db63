"""Doubly robust: the model, corrected by weighted residuals; right if either model or propensities are."""

from __future__ import annotations

from learning.evaluation.estimators.estimator import Estimator
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms


def doubly_robust(rounds: Weighed, _: float) -> Terms:
    """Dudík, Langford and Li, "Doubly Robust Policy Evaluation and Learning" (ICML 2011)."""
    q_chosen, q_candidate = rounds.model()
    return Terms(rounds.weights * (rounds.rewards - q_chosen), base=q_candidate)


def self_normalised_doubly_robust(rounds: Weighed, _: float) -> Terms:
    """DR whose residuals are divided by the mean weight. Kallus and Uehara (NeurIPS 2019)."""
    q_chosen, q_candidate = rounds.model()
    return Terms(rounds.weights * (rounds.rewards - q_chosen), base=q_candidate, scale=rounds.weights)


DOUBLY_ROBUST = Estimator("dr", "doubly robust", doubly_robust, needs_model=True)
SELF_NORMALISED_DOUBLY_ROBUST = Estimator(
    "sndr", "self-normalised DR", self_normalised_doubly_robust, needs_model=True
)
