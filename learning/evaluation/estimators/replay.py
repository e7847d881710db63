"""Replay: the mean reward of rounds in which the log did what the candidate would have done for certain."""

from __future__ import annotations

import numpy as np

from learning.errors import InvalidRounds
from learning.evaluation.estimators.estimator import Estimator
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms


def replay(rounds: Weighed, _: float) -> Terms:
    """Li, Chu, Langford and Wang (WSDM 2011). Right only for logs that drew uniformly.

    Raises:
        InvalidRounds: the candidate was never certain of what was logged.
    """
    if rounds.certain is None or not rounds.certain.any():
        raise InvalidRounds(
            "replay counts rounds in which the candidate is certain of the logged action: there are none"
        )
    matched = rounds.certain.astype(np.float64)
    return Terms(matched * rounds.rewards, scale=matched)


REPLAY = Estimator("replay", "replay", replay)
