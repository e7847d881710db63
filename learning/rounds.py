"""Rounds for an evaluation: logged decisions with their rewards, looked at with a candidate's eyes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from learning import repository
from learning.errors import InvalidRounds, SeenInTraining
from learning.evaluation import Candidate, Evaluation, How, Log, evaluate
from learning.evaluation.evaluate import DEFAULT
from learning.models import LinearGaussian
from learning.open_windows import EARLY
from learning.plans import Plans
from learning.recalls import concerned, note_of, recalled_spans
from learning.rewards import Reward
from learning.versions import PolicyVersion
from playbooks.decision import Decision
from playbooks.models import DO_NOTHING
from storage.engine import Database

FloatArray = NDArray[np.float64]
Span = tuple[datetime | None, datetime | None]

# Decisions read at a time; their records and matrices are let go of before the next ones come.
_PAGE = 2_000
# Parts of the cross-fitting: each is predicted by a model fitted on the others.
_FOLDS = 5
# Pulls the reward model's weights to zero a little; some hundred rows outweigh it.
_RIDGE = 1.0


# Cells of the tables of arms that an evaluation may hold: four of them come to 2 GB.
_MOST_CELLS = 64_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Logged decisions as rounds, and what a candidate and the reward models make of them.

    `drawers` counts the rounds by the policy that drew them, all its versions together.
    """

    log: Log
    candidate: Candidate
    drawers: Mapping[str, int]


@dataclass(slots=True)
class _Drawn:
    """One row for each logged round, what the reward models are fitted on among it."""

    users: list[str] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    propensities: list[float] = field(default_factory=list)
    moments: list[datetime] = field(default_factory=list)
    arms: list[str] = field(default_factory=list)
    chosen: list[FloatArray | None] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)
    drawers: Counter[str] = field(default_factory=Counter)


def evaluate_decisions(
    database: Database,
    candidate: PolicyVersion,
    baseline: PolicyVersion | None = None,
    *,
    after: int | None = None,
    until: int | None = None,
    how: How = DEFAULT,
) -> Evaluation:
    """Say what a policy version would have earned per decision, as `see_both` and `evaluate` do."""
    seen, other = see_both(database, candidate, baseline, after=after, until=until)
    return evaluate(seen.log, seen.candidate, other, how)


def see_both(
    database: Database,
    candidate: PolicyVersion,
    baseline: PolicyVersion | None = None,
    *,
    after: int | None = None,
    until: int | None = None,
) -> tuple[Seen, Candidate | None]:
    """Look at logged decisions of a candidate's placements as it and a baseline would have made them.

    Args:
        baseline: by default the policies that made the decisions.
        after: only rewards with a greater `seq`; by default those after the training of both.
        until: only rewards up to this `seq`.

    Raises:
        SeenInTraining: `after` lies within the training of one of them.
        InvalidRounds: there are no rounds to judge on.
    """
    versions = [candidate] if baseline is None else [candidate, baseline]
    start = max(one.through for one in versions) if after is None else after
    for one in versions:
        if start < one.through:
            raise SeenInTraining(
                f"{one.version} was trained on rewards up to {one.through}; judge it on later ones"
            )
    seen = see_again(database, candidate, after=start, until=until)
    other = None
    if baseline is not None:
        other = see_again(database, baseline, after=start, until=until).candidate
        if len(other.chosen) != len(seen.log):
            raise InvalidRounds(
                f"{candidate.version} and {baseline.version} serve different placements; compare two that "
                "decide the same"
            )
    return seen, other


def see_again(database: Database, candidate: PolicyVersion, *, after: int, until: int | None = None) -> Seen:
    """Look at decisions whose rewards have `after` < seq <= `until` as a candidate would have made them.

    Recorded features are scored by the candidate, weighed by the recorded levers and explored as it would.
    The reward models are linear-Gaussian on the candidate's columns and cross-fitted: a user's rounds are
    predicted by a model that saw only other users'. Decisions without a draw (fallbacks) and of holdouts are
    left out, and those made while rewards were known of some arms only, as doing nothing matures at once, and
    those that could have drawn what was recalled (`learning.recalls`); one whose arm was refused counts as
    intended. The log is read twice; memory holds a row of all arms a round.

    Raises:
        InvalidRounds: there are no such decisions, or more than can be held.
    """
    view = _View(database, candidate)
    drawn, last, span = _Drawn(), after, view.span(after, until)
    for seq, reward, decision in view.logged(after, until, span):
        last = seq
        drawn.users.append(decision.user_id)
        drawn.rewards.append(reward.earned)
        drawn.propensities.append(decision.propensity)
        drawn.moments.append(decision.decided_at)
        drawn.arms.append(decision.arm)
        drawn.chosen.append(view.chosen_row(decision))
        drawn.drawers[decision.policy.partition("@")[0]] += 1
        for arm in decision.arms:
            drawn.known.setdefault(arm, len(drawn.known))
    n, k = len(drawn.users), len(drawn.known)
    if n == 0:
        raise InvalidRounds(
            f"no matured decision of {candidate.policy} after reward {after}; wait until windows close"
        )
    if n * k > _MOST_CELLS:
        raise InvalidRounds(
            f"{n} rounds of {k} arms are more than is held at once; judge on fewer, with `after` or `until`"
        )
    models = view.reward_models(drawn)
    vectors, predictions, logged = np.zeros((n, k)), np.zeros((n, k)), np.zeros((n, k))
    for row, (_, _, decision) in enumerate(view.logged(after, last, span)):
        vector, predicted = view.look(decision, models[_fold(decision.user_id)])
        places = [drawn.known[arm] for arm in decision.arms]
        vectors[row, places], predictions[row, places] = vector, predicted
        logged[row, places] = decision.probabilities
    bounds = candidate.specification().reward
    rewards = np.array(drawn.rewards)
    low, high = min(bounds.low, float(rewards.min())), max(bounds.high, float(rewards.max()))
    log = Log(
        actions=tuple(drawn.known),
        action=np.array([drawn.known[arm] for arm in drawn.arms], dtype=np.intp),
        rewards=rewards,
        propensities=np.array(drawn.propensities),
        estimated=predictions,
        logged_dist=logged,
        owners=np.unique(np.array(drawn.users), return_inverse=True)[1],
        moments=np.array([moment.replace(tzinfo=None) for moment in drawn.moments], dtype="datetime64[us]"),
        low=low,
        high=high,
        declared=True,
        notes=(note_of(len(view.recalled)),) if view.recalled else (),
    )
    return Seen(log, Candidate(candidate.version, log.at_actions(vectors), vectors), drawn.drawers)


class _View:
    """The candidate's view of the log."""

    def __init__(self, database: Database, candidate: PolicyVersion) -> None:
        self._database = database
        self._spec = candidate.specification()
        self._policy = candidate.serve()
        self._seen_until = candidate.created_at if candidate.metrics.get(EARLY) else None
        self._plans = Plans(database)
        with database.read() as connection:
            self._recalls = recalled_spans(connection)
        # Decisions that were left out for a recall.
        self.recalled: set[str] = set()

    def span(self, after: int, until: int | None) -> Span:
        """Return between which moments rewards are known of all decisions, not only of some arms.

        Decisions whose windows a version learnt of while they were open are no test of it.
        """
        with self._database.read() as connection:
            start, end = repository.whole_span(connection, self._spec.placements, after, until)
        if self._seen_until is not None:
            start = self._seen_until if start is None else max(start, self._seen_until)
        return start, end

    def logged(self, after: int, until: int | None, span: Span) -> Iterator[tuple[int, Reward, Decision]]:
        """Yield matured decisions of the policy's placements that were drawn, in the order of rewards.

        Only those made within `span`.
        """
        position = after
        start, end = span
        while True:
            with self._database.read() as connection:
                matured = repository.rewards_after(connection, position, limit=_PAGE)
                ids = [one.decision_id for _, _, one in matured]
                decisions = repository.decisions(connection, ids, with_recalled=True)
                # As they are by now: an outcome that came late counts.
                latest = repository.rewards_of(connection, ids)
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
                    and (start is None or decision.decided_at > start)
                    and (end is None or decision.decided_at < end)
                ):
                    if concerned(self._recalls, decision):
                        self.recalled.add(reward.decision_id)
                    else:
                        yield position, latest.get(reward.decision_id, reward), decision

    def chosen_row(self, decision: Decision) -> FloatArray | None:
        """Return the drawn arm's columns, None for "do nothing"."""
        if decision.arm == DO_NOTHING:
            return None
        row: FloatArray = self._policy.matrix(decision.features, [self._plans.chosen(decision)])[0]
        return row

    def reward_models(self, log: _Drawn) -> list[LinearGaussian]:
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
