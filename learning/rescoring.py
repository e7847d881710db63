"""Re-scoring: the value model of a kept version runs again on what a decision recorded."""

from __future__ import annotations

import msgspec
import numpy as np

from learning import version_repository
from learning.errors import NothingToRescore
from learning.plans import Plans
from playbooks.decision import Decision
from storage.engine import Database

# How far a score may be from the recorded one; more than rounding on another processor can be.
TOLERANCE = 1e-6


class Rescored(msgspec.Struct, frozen=True):
    """What came of it: `scores` now and as `recorded`, arm by arm, "do nothing" left out.

    `agrees` when no score differs by more than 1e-6; `largest_difference` is between two of them.
    """

    agrees: bool
    policy: str
    largest_difference: float
    arms: list[str]
    recorded: list[float]
    scores: list[float]


def rescore(database: Database, decision: Decision) -> Rescored:
    """Run the model of the decision's policy version on its recorded features again.

    Raises:
        NothingToRescore: no model was asked, because it is a fallback or its policy has none.
        VersionGone: the version's weights are kept no more.
        UnknownVersion: the version was let go.
        BrokenWeights: what is kept of the version is damaged.
        UnknownPlan: an arm of the decision was never published.
    """
    if decision.fallback is not None:
        raise NothingToRescore(
            f"decision {decision.decision_id!r} is a fallback ({decision.fallback}): no policy was asked, so "
            "there are no scores to make again; replay it instead"
        )
    with database.read() as connection:
        if version_repository.unweighted(connection, decision.policy).specification().learner is None:
            raise NothingToRescore(
                f"policy {decision.policy} draws by what is written in its specification and has no value "
                "model to run again; replay the decision instead"
            )
        policy = version_repository.version(connection, decision.policy).serve()
    scores = policy.score(decision.features, Plans(database).eligible(decision))
    recorded = np.array(decision.scores, dtype=np.float64)
    largest = float(np.abs(scores - recorded).max(initial=0.0))
    return Rescored(
        agrees=largest <= TOLERANCE,
        policy=decision.policy,
        largest_difference=largest,
        arms=list(decision.arms[:-1]),
        recorded=recorded.tolist(),
        scores=scores.tolist(),
    )
