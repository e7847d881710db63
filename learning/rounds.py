"""Rounds for an evaluation: logged decisions with their rewards, looked at with a candidate's eyes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from learning import repository
from learning.errors import InvalidRounds, SeenInTraining
from learning.evaluation import Estimate, Rounds, estimate
from learning.models import LinearGaussian
from learning.plans import Plans
from learning.rewards import Reward
from learning.versions import PolicyVersion
from playbooks.decision import Decision
from playbooks.models import DO_NOTHING
from storage.engine import Database

FloatArray = NDArray[np.float64]

# Rewards are read and re-scored this many at a time.
_PAGE = 2_000
# Parts of the cross-fitting: each is predicted by a model fitted on the others.
_FOLDS = 5
# Pulls the reward model's weights to zero a little; some hundred rows outweigh it.
_RIDGE = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Reseen:
    """Decisions as a candidate sees them, flat over all arms of all rounds, "do nothing" excluded.

    `starts` (n + 1,) are the places in the flat arrays where each round's arms begin; `matrix` (m, columns)
    their features, `candidate` (m,) the candidate's probabilities; `chosen` (n,) the flat place of the drawn
    arm, −1 for "do nothing"; `candidate_idle` (n,) the candidate's probability of doing nothing.
    """

    rounds: Rounds
    starts: NDArray[np.intp]
    matrix: FloatArray
    candidate: FloatArray
    candidate_idle: FloatArray
    chosen: NDArray[np.intp]

    @property
    def candidate_chosen(self) -> FloatArray:
        """The candidate's probability of each drawn arm, shape (n,)."""
        return np.where(self.chosen >= 0, np.append(self.candidate, 0.0)[self.chosen], self.candidate_idle)


def evaluate(
    database: Database, candidate: PolicyVersion, *, after: int | None = None, until: int | None = None
) -> Estimate:
    """Estimate what a policy version would have earned per decision on logged decisions of its placements.

    The reward model is linear-Gaussian on the candidate's own columns, cross-fitted: a user's rounds are
    predicted by a model that saw only other users'.

    Args:
        after: only rewards with a greater `seq`; by default those after the candidate's training.
        until: only rewards up to this `seq`.

    Raises:
        SeenInTraining: `after` lies within the candidate's training.
        InvalidRounds: there are no rounds to judge on.
    """
    start = candidate.through if after is None else after
    if start < candidate.through:
        raise SeenInTraining(
            f"{candidate.version} was trained on rewards up to {candidate.through}; judge it on later ones"
        )
    seen = see_again(database, candidate, after=start, until=until)
    q_chosen, q_candidate = cross_fitted(seen, candidate)
    return estimate(seen.rounds, seen.candidate_chosen, q_chosen, q_candidate)


def see_again(
    database: Database, candidate: PolicyVersion, *, after: int, until: int | None = None
) -> Reseen:
    """Read decisions whose rewards have `after` < seq <= `until` and score them with a candidate.

    Recorded features are scored by the candidate, weighed by the recorded levers and explored as it would.
    Decisions without a draw (fallbacks) are left out; one whose arm was refused counts as intended.

    Raises:
        InvalidRounds: there are none.
    """
    plans, policy, placements = Plans(database), candidate.serve(), candidate.specification().placements
    users: list[str] = []
    rewards: list[float] = []
    propensities: list[float] = []
    idle: list[float] = []
    chosen: list[int] = []
    starts = [0]
    matrices: list[FloatArray] = []
    vectors: list[FloatArray] = []
    for reward, decision in _logged(database, after, until, placements):
        arms = plans.eligible(decision)
        matrix = policy.matrix(decision.features, arms)
        net = policy.score(decision.features, arms) * np.array(decision.weights)
        vector = policy.explore(np.append(net, 0.0))
        users.append(decision.user_id)
        rewards.append(reward.value)
        propensities.append(decision.propensity)
        chosen.append(-1 if decision.arm == DO_NOTHING else starts[-1] + decision.chosen)
        starts.append(starts[-1] + len(arms))
        idle.append(float(vector[-1]))
        matrices.append(matrix)
        vectors.append(vector[:-1])
    if not users:
        raise InvalidRounds(
            f"no matured decision at {', '.join(placements)} after reward {after}; wait until windows close"
        )
    return Reseen(
        Rounds(users, np.array(rewards), np.array(propensities)),
        np.array(starts),
        np.concatenate(matrices),
        np.concatenate(vectors),
        np.array(idle),
        np.array(chosen),
    )


def cross_fitted(seen: Reseen, candidate: PolicyVersion) -> tuple[FloatArray, FloatArray]:
    """Return (q_chosen, q_candidate), shape (n,), of reward models that saw none of the round's user.

    Users fall into folds by a hash of their id, so that a user is always in the same one.
    """
    spec = candidate.specification()
    prior = LinearGaussian.prior(
        candidate.serve().columns, low=spec.reward.low, high=spec.reward.high, ridge=_RIDGE
    )
    folds = np.array([_fold(user) for user in seen.rounds.users])
    sizes = np.diff(seen.starts)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    acting = seen.chosen >= 0
    predicted = np.zeros(len(seen.candidate))
    for fold in np.unique(folds):
        others = acting & (folds != fold)
        model = prior.learn(seen.matrix[seen.chosen[others]], seen.rounds.rewards[others])
        mine = folds[owners] == fold
        predicted[mine] = model.predict(seen.matrix[mine])
    # "Do nothing" earns 0 by definition, so only arms count in the average.
    q_candidate = np.bincount(owners, weights=predicted * seen.candidate, minlength=len(sizes)).astype(
        np.float64
    )
    q_chosen = np.append(predicted, 0.0)[seen.chosen]
    return q_chosen, q_candidate


def _logged(
    database: Database, after: int, until: int | None, placements: Sequence[str]
) -> list[tuple[Reward, Decision]]:
    result: list[tuple[Reward, Decision]] = []
    position = after
    while True:
        with database.read() as connection:
            matured = repository.rewards_after(connection, position, limit=_PAGE)
            wanted = [one for one in matured if until is None or one[0] <= until]
            decisions = repository.decisions(connection, [reward.decision_id for _, _, reward in wanted])
        result += _usable([reward for _, _, reward in wanted], decisions, placements)
        if not matured or len(wanted) < len(matured):
            return result
        position = matured[-1][0]


def _usable(
    rewards: Sequence[Reward], decisions: Mapping[str, Decision], placements: Sequence[str]
) -> list[tuple[Reward, Decision]]:
    pairs = [(reward, decisions.get(reward.decision_id)) for reward in rewards]
    return [
        (reward, decision)
        for reward, decision in pairs
        if decision is not None and decision.fallback is None and decision.placement in placements
    ]


def _fold(user: str) -> int:
    return int.from_bytes(blake2b(user.encode(), digest_size=4).digest()) % _FOLDS
