"""DR with optimistic shrinkage: weights are shrunk so that a bound on the error is least."""

from __future__ import annotations

from learning.evaluation.estimators.estimator import Estimator
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms


def optimistic_shrinkage(rounds: Weighed, lambda_: float) -> Terms:
    """DR with weights λ w / (w² + λ). Su, Dimakopoulou, Krishnamurthy and Dudík (ICML 2020)."""
    q_chosen, q_candidate = rounds.model()
    shrunk = lambda_ * rounds.weights / (rounds.weights**2 + lambda_)
    return Terms(shrunk * (rounds.rewards - q_chosen), base=q_candidate)


OPTIMISTIC_SHRINKAGE = Estimator(
    "dros",
    "DR, optimistic shrinkage",
    optimistic_shrinkage,
    needs_model=True,
    parameter=10.0,
    symbol="lambda",
)
