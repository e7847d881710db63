"""The direct method: trust the reward model alone."""

from __future__ import annotations

import numpy as np

from learning.evaluation.estimators.estimator import Estimator
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms


def direct_method(rounds: Weighed, _parameter: float) -> Terms:
    """Beygelzimer and Langford, "The Offset Tree for Learning with Partial Labels" (KDD 2009)."""
    _, q_candidate = rounds.model()
    return Terms(np.zeros(len(rounds)), base=q_candidate, rewarded=False)


DIRECT_METHOD = Estimator("dm", "direct method", direct_method, needs_model=True)
