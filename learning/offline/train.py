"""Train a policy on a log, and judge it on rounds that were held out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from learning.errors import InvalidRounds, PolicySpecError
from learning.evaluation import Candidate, How, evaluate
from learning.models import model_from_bytes
from learning.offline.rounds import LoggedRounds
from learning.rows import Rows
from learning.spec import PolicySpec
from learning.versions import PolicyVersion, child, cold_start
from playbooks.policy import Stakes

FloatArray = NDArray[np.float64]

# Fewer rounds than this can't be parted into some to learn from and some to judge on.
FEWEST = 20
HOW = How(estimators=("dr",), resamples=2)


class Judged(msgspec.Struct, frozen=True):
    """What a trained policy would have been worth a round on rounds it was not trained on.

    `value` is doubly robust, with its `interval`; `logged` is what the policy that drew the log earned.
    `rms_error` is of predicted rewards, `constant_error` of always predicting the mean it was trained on.
    """

    rounds: int
    value: float | None
    interval: tuple[float | None, float | None] | None
    logged: float
    verdict: str
    rms_error: float
    constant_error: float
    doubts: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A version that was trained offline, on how many rounds, and what it is worth."""

    version: PolicyVersion
    rounds: int
    held_out: Judged


def train(rounds: LoggedRounds, spec: PolicySpec, now: datetime, *, held_out: float = 0.3) -> Trained:
    """Train a policy on the earlier rounds of a log, and judge it on the later ones.

    Where rounds have users, all of a user's are on one side. Deterministic.

    Args:
        held_out: the share of rounds that is judged on, in (0, 1).

    Raises:
        InvalidRounds: too few rounds.
        PolicySpecError: the specification learns nothing, or reads what the log has not.
        InvalidRows: rewards out of the specification's bounds.
    """
    last = later(rounds, held_out)
    first, second = rounds.only(~last), rounds.only(last)
    version = trained_version(first, spec, now)
    return Trained(version, len(first), judge(version, second, first))


def trained_version(rounds: LoggedRounds, spec: PolicySpec, now: datetime) -> PolicyVersion:
    """Return the version of a policy that learnt all of these rounds.

    Raises:
        PolicySpecError, InvalidRows: as `train`.
    """
    if spec.learner is None:
        raise PolicySpecError(
            f"{spec.id}: exploration.kind {spec.exploration.kind} learns nothing; there is nothing to train"
        )
    rows = rounds.rows(spec)
    start = cold_start(spec, rounds.vocabularies, now, after=None)
    learner = spec.learner.start(start.task())
    try:
        learnt = learner.fold(None, rows)
    finally:
        learner.close()
    return child(
        start,
        learnt,
        trained=len(rows),
        through=0,
        metrics=_errors(learnt.model.predict(rows.matrix), rows),
        now=now,
    )


def judge(version: PolicyVersion, rounds: LoggedRounds, trained_on: LoggedRounds) -> Judged:
    """Return what a version would have been worth on rounds it has not seen."""
    rows = rounds.rows(version.specification())
    vectors = vectors_of(version, rounds)
    log = rounds.log
    found = evaluate(log, Candidate(version.version, log.at_actions(vectors), vectors), how=HOW)
    estimate = found.estimates["dr"]
    constant = np.full(len(rows), float(trained_on.log.rewards.mean()))
    return Judged(
        rounds=len(rounds),
        value=estimate.value,
        interval=estimate.interval,
        logged=float(log.rewards.mean()),
        verdict=found.verdict,
        rms_error=_errors(model_from_bytes(version.model).predict(rows.matrix), rows)["rms_error"],
        constant_error=_errors(constant, rows)["rms_error"],
        doubts=list(found.diagnostics.doubts),
    )


def vectors_of(version: PolicyVersion, rounds: LoggedRounds) -> FloatArray:
    """Return the vectors with which a version would have drawn from what could be taken, shape (n, k)."""
    policy, all_arms = version.serve(), rounds.arms
    vectors = np.zeros((len(rounds), len(all_arms)))
    for row in range(len(rounds)):
        features, places = rounds.features(row), rounds.places(row)
        arms = [all_arms[place] for place in places]
        ids = [arm.id for arm in arms]
        request = (version.policy, str(row), "log", "log")
        stakes = Stakes(ids, policy.score(features, arms), policy.deviations(features, arms), request)
        vectors[row, places] = policy.explore(stakes)
    return vectors


def later(rounds: LoggedRounds, share: float) -> NDArray[np.bool_]:
    """Return which rounds are the last `share` of them, by time where it is known; users are not parted.

    Raises:
        InvalidRounds: too few rounds, or users, for both sides.
    """
    n = len(rounds)
    if n < FEWEST:
        raise InvalidRounds(
            f"{n} rounds are too few to learn from some and judge on others; {FEWEST} are needed"
        )
    log = rounds.log
    order = np.arange(n) if log.moments is None else np.argsort(log.moments, kind="stable")
    place = np.empty(n, dtype=np.intp)
    place[order] = np.arange(n)
    if log.owners is not None:
        # A user counts by the first of his rounds.
        firsts = np.full(int(log.owners.max()) + 1, n)
        np.minimum.at(firsts, log.owners, place)
        place = firsts[log.owners]
    marked: NDArray[np.bool_] = place >= np.quantile(place, 1 - share)
    if marked.all() or not marked.any():
        raise InvalidRounds("all rounds are of users who began at once; there are none to hold out")
    return marked


def _errors(predicted: FloatArray, rows: Rows) -> dict[str, float]:
    off = predicted - rows.targets
    return {
        "rows": float(len(rows)),
        "mean_reward": float(rows.targets.mean()),
        "rms_error": math.sqrt(float((off**2).mean())),
    }
