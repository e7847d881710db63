"""Evaluations on the service's own decisions."""

from __future__ import annotations

from learning import version_repository
from learning.errors import UnknownCandidate
from learning.evaluation import Evaluation, How
from learning.evaluation.candidates import LOGGED
from learning.rounds import evaluate_decisions
from storage.engine import Database


def evaluate_own(
    database: Database,
    policy: str | None,
    baseline: str | None,
    how: How,
    *,
    after: int | None = None,
    until: int | None = None,
) -> Evaluation:
    """Say what a policy version would have earned on decisions whose rewards are known.

    Args:
        policy: a version, `next_category@7`; None is nobody and refused with the way out.
        baseline: another version; None or `logged`: the policies that made the decisions.
        after, until: only rewards with after < seq <= until.

    Raises:
        UnknownCandidate: no policy is named.
        UnknownVersion: there is no such version.
        SeenInTraining, InvalidRounds: as `evaluate_decisions`.
    """
    if policy is None:
        raise UnknownCandidate(
            "name the policy version to evaluate, as next_category@7: decisions name theirs, and each "
            "training publishes one"
        )
    with database.read() as connection:
        candidate = version_repository.version(connection, policy)
        other = None if baseline in (None, LOGGED) else version_repository.version(connection, str(baseline))
    return evaluate_decisions(database, candidate, other, after=after, until=until, how=how)
