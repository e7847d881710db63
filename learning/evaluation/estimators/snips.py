"""Self-normalised IPS: divide by the sum of weights instead of the number of rounds."""

from __future__ import annotations

from learning.evaluation.estimators.estimator import Estimator
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms


def snips(rounds: Weighed, _: float) -> Terms:
    """Swaminathan and Joachims, "The Self-Normalized Estimator …" (NeurIPS 2015)."""
    return Terms(rounds.weights * rounds.rewards, scale=rounds.weights)


SNIPS = Estimator("snips", "self-normalised IPS", snips)
