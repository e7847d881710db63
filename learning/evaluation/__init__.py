"""Off-policy evaluation: what a policy would have been worth, from what another one logged.

    from learning.evaluation import evaluate, read_log

`read_log` reads a log, `candidate` names a policy on it, `evaluate` says what it is worth.
"""

from __future__ import annotations

from learning.evaluation.candidates import Candidate, candidate, logged
from learning.evaluation.estimators import ESTIMATORS
from learning.evaluation.evaluate import Evaluation, How, evaluate
from learning.evaluation.log import Log
from learning.evaluation.logs import read_log

__all__ = [
    "ESTIMATORS",
    "Candidate",
    "Evaluation",
    "How",
    "Log",
    "candidate",
    "evaluate",
    "logged",
    "read_log",
]
