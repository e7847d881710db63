"""Rounds for an evaluation: logged decisions with their rewards, looked at with a candidate's eyes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
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

# Decisions read at a time; their records and matrices are let go of before the next ones come.
_PAGE = 2_000
# Parts of the cross-fitting: each is predicted by a model fitted on the others.
_FOLDS = 5
# Pulls the reward model's weights to zero a little; some hundred rows outweigh it.
_RIDGE = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Logged rounds and what the candidate and the reward models make of them, each of shape (n,).

    `candidate` is the candidate's probability of the logged action, `q_chosen` the predicted reward of that
    action, `q_candidate` the predicted reward averaged over the candidate's probabilities.
    """

    rounds: Rounds
    candidate: FloatArray
    q_chosen: FloatArray
    q_candidate: FloatArray


@dataclass(slots=True)
class _Log:
    """What the reward models are fitted on: one row for each logged round."""

    users: list[str] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    propensities: list[float] = field(default_factory=list)
    chosen: list[FloatArray | None] = field(default_factory=list)


def evaluate(
    database: Database, candidate: PolicyVersion, *, after: int | None = None, until: int | None = None
) -> Estimate:
    """Estimate what a policy version would have earned per decision on logged decisions of its placements.

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
    return estimate(seen.rounds, seen.candidate, seen.q_chosen, seen.q_candidate)


def see_again(database: Database, candidate: PolicyVersion, *, after: int, until: int | None = None) -> Seen:
    """Look at decisions whose rewards have `after` < seq <= `until` as a candidate would have made them.

    Recorded features are scored by the candidate, weighed by the recorded levers and explored as it would.
    The reward models are linear-Gaussian on the candidate's columns and cross-fitted: a user's rounds are
    predicted by a model that saw only other users'. Decisions without a draw (fallbacks) and of holdouts are
    left out; one whose arm was refused counts as intended. The log is read twice, so memory holds one row
    a round.

    Raises:
        InvalidRounds: there are no such decisions.
    """
    view = _View(database, candidate)
    log, last = _Log(), after
    for seq, reward, decision in view.logged(after, until):
        last = seq
        log.users.append(decision.user_id)
        log.rewards.append(reward.value)
        log.propensities.append(decision.propensity)
        log.chosen.append(view.chosen_row(decision))
    if not log.users:
        raise InvalidRounds(
            f"no matured decision of {candidate.policy} after reward {after}; wait until windows close"
        )
    models = view.reward_models(log)
    n = len(log.users)
    probability, q_chosen, q_candidate = np.empty(n), np.empty(n), np.empty(n)
    for row, (_, _, decision) in enumerate(view.logged(after, last)):
        vector, predicted = view.look(decision, models[_fold(decision.user_id)])
        probability[row] = vector[decision.chosen]
        q_chosen[row] = predicted[decision.chosen]
        q_candidate[row] = vector @ predicted
    rounds = Rounds(log.users, np.array(log.rewards), np.array(log.propensities))
    return Seen(rounds, probability, q_chosen, q_candidate)


class _View:
    """The candidate's view of the log."""

    def __init__(self, database: Database, candidate: PolicyVersion) -> None:
        self._database = database
        self._spec = candidate.specification()
        self._policy = candidate.serve()
        self._plans = Plans(database)

    def logged(self, after: int, until: int | None) -> Iterator[tuple[int, Reward, Decision]]:
        """Yield matured decisions of the policy's placements that were drawn, in the order of rewards."""
        position = after
        while True:
            with self._database.read() as connection:
                matured = repository.rewards_after(connection, position, limit=_PAGE)
                decisions = repository.decisions(connection, [one.decision_id for _, _, one in matured])
            if not matured:
                return
            for position, _, reward in matured:
                if until is not None and position > until:
                    return
                decision = decisions.get(reward.decision_id)
                if (
                    decision is not None
                    and decision.fallback is None
                    and not decision.holdout
                    and decision.placement in self._spec.placements
                ):
                    yield position, reward, decision

    def chosen_row(self, decision: Decision) -> FloatArray | None:
        """Return the drawn arm's columns, None for "do nothing"."""
        if decision.arm == DO_NOTHING:
            return None
        row: FloatArray = self._policy.matrix(decision.features, [self._plans.chosen(decision)])[0]
        return row

    def reward_models(self, log: _Log) -> list[LinearGaussian]:
        """Return for each fold of users a model fitted on the rounds of all other users."""
        bounds = self._spec.reward
        prior = LinearGaussian.prior(self._policy.columns, low=bounds.low, high=bounds.high, ridge=_RIDGE)
        acting = [(i, row) for i, row in enumerate(log.chosen) if row is not None]
        matrix = np.array([row for _, row in acting]).reshape(len(acting), len(self._policy.columns))
        targets = np.array([log.rewards[i] for i, _ in acting])
        folds = np.array([_fold(log.users[i]) for i, _ in acting])
        return [prior.learn(matrix[folds != fold], targets[folds != fold]) for fold in range(_FOLDS)]

    def look(self, decision: Decision, model: LinearGaussian) -> tuple[FloatArray, FloatArray]:
        """Return the candidate's vector and the predicted rewards of a decision's arms, "do nothing" last."""
        arms = self._plans.eligible(decision)
        vector = self._policy.vector_at(decision, arms)
        predicted = model.predict(self._policy.matrix(decision.features, arms))
        # Doing nothing earns 0 by definition.
        return vector, np.append(predicted, 0.0)


def _fold(user: str) -> int:
    """Return the fold of a user: by a hash, so that all rounds of a user are in one."""
    return int.from_bytes(blake2b(user.encode(), digest_size=4).digest()) % _FOLDS
