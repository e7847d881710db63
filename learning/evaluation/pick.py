"""Which interval an estimate gets, from the log alone."""

from __future__ import annotations

from learning.evaluation.intervals import BOOTSTRAP
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms

LIKELIHOOD = "likelihood"


def pick(terms: Terms, rounds: Weighed) -> str:
    """Return the name of the interval for an estimate.

    The likelihood ratio at the size the log is worth: of the intervals that covered what they say for
    few and many rounds and for small and large weights it was the narrowest. The direct method uses no reward
    of the log, so that only resampling says how it varies (and nothing says how wrong its model is).
    """
    return LIKELIHOOD if terms.rewarded else BOOTSTRAP
