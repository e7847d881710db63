"""What must be known beside an estimate: does the log support it, and are its propensities right?"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from learning.evaluation import units
from learning.evaluation.calibration import counts_fit, inverses_fit
from learning.evaluation.candidates import Candidate
from learning.evaluation.log import Log
from learning.evaluation.rounds import FloatArray, Weighed

# Below this many effective rounds or users, intervals were measured to cover less than they say.
MIN_EFFECTIVE = 100.0
MIN_USERS = 30
# A single weight above this share of all of them decides the estimate alone.
MAX_SHARE = 0.05
# Means that are further off than this many standard errors are not off by chance.
ERRORS = 4.0
# Standard errors that stand for all that is further off: an answer has no infinite numbers.
FAR = 1e6
_ROUNDING = 1e-9
# A candidate with more of its probability on what the log could not take can't be judged.
MOST_UNSUPPORTED = 0.01


class MeanWeight(msgspec.Struct, frozen=True):
    """Weights average 1 where propensities are right and everything was tried; `z` in standard errors.

    `error` is None for one user, of whom nothing says how he varies.
    """

    value: float
    error: float | None
    z: float
    ok: bool


class Overlap(msgspec.Struct, frozen=True):
    """One action: rounds that logged it, the candidate's share of it (None: not known), and its weights.

    `effective` is the effective number of rounds that speak for the action.
    """

    action: str
    rounds: int
    logged: float
    candidate: float | None
    largest_weight: float
    effective: float


class Calibration(msgspec.Struct, frozen=True):
    """One action: what its propensities promise against how often it came up.

    `expected` and `z` compare the logged vectors with the counts where these are known. Otherwise `expected`
    is None, and `inverse`, the mean of 1/propensity over its rounds and 0 over all others, can't be above 1.
    `z` is in standard errors, for reading; `ok` rests on a test that holds for few rounds too, and calls
    `calibration.FALSE_ALARMS` of right logs wrong at most.
    """

    action: str
    observed: int
    expected: float | None
    inverse: float
    z: float
    ok: bool


class Naive(msgspec.Struct, frozen=True):
    """What somebody would say who forgot that another policy drew the log.

    `logged_mean` is the mean reward of all rounds, `matched_mean` that of rounds whose action the candidate
    likes best, None where there are none or its vectors are not known.
    """

    logged_mean: float
    matched_mean: float | None


class Diagnostics(msgspec.Struct, frozen=True):
    """Everything that is always shown beside an estimate.

    `unsupported` is the candidate's probability of what the log could not take. `doubts` say in words what
    is wrong.
    """

    rounds: int
    users: int | None
    effective_sample_size: float
    largest_weight: float
    largest_share: float
    mean_weight: MeanWeight
    unsupported: float
    unsupported_actions: list[str]
    overlap: list[Overlap]
    propensity_calibration: list[Calibration]
    naive: Naive
    doubts: list[str]


def diagnose(log: Log, candidate: Candidate, rounds: Weighed) -> Diagnostics:
    """Return the diagnostics of a candidate on a log."""
    weights = rounds.weights
    total, squares = float(weights.sum()), float(np.square(weights).sum())
    effective = total**2 / squares if squares > 0 else 0.0
    share = float(weights.max()) / total if total > 0 else 0.0
    mean_weight = _mean_weight(rounds)
    unsupported, never = _unsupported(log, candidate)
    calibration = _calibration(log)
    users = None if rounds.owners is None else units.number(rounds)
    doubts = []
    if users is not None and users < MIN_USERS:
        doubts.append(f"only {users} users; at least {MIN_USERS} are needed")
    if effective < MIN_EFFECTIVE:
        doubts.append(f"the log is worth only {effective:.0f} rounds of this policy")
    if share > MAX_SHARE:
        doubts.append(f"a single round carries {share:.0%} of all weight")
    if not mean_weight.ok:
        doubts.append(
            f"weights average {mean_weight.value:.3f} instead of 1: the propensities do not fit this log, or "
            "the candidate does what was never tried"
        )
    if never:
        doubts.append(f"the log could not take {_named(never)}: {unsupported:.1%} of what the candidate does")
    doubts += [_miscalibrated(one) for one in calibration if not one.ok]
    if len(taken := np.flatnonzero(log.logged)) == 1:
        doubts.append(f"every round took {log.actions[taken[0]]}: the log tells of no other action")
    if not np.any(rounds.rewards > rounds.low):
        doubts.append("no round was rewarded")
    doubts += log.notes
    return Diagnostics(
        rounds=len(log),
        users=users,
        effective_sample_size=effective,
        largest_weight=float(weights.max()),
        largest_share=share,
        mean_weight=mean_weight,
        unsupported=unsupported,
        unsupported_actions=never,
        overlap=_overlap(log, candidate, weights),
        propensity_calibration=calibration,
        naive=Naive(float(log.rewards.mean()), _matched(log, candidate)),
        doubts=doubts,
    )


def _mean_weight(rounds: Weighed) -> MeanWeight:
    mean = float(rounds.weights.mean())
    error = units.error(rounds, rounds.weights - mean)
    z = _z(mean - 1, error)
    return MeanWeight(mean, error if math.isfinite(error) else None, z, abs(z) <= ERRORS)


def _unsupported(log: Log, candidate: Candidate) -> tuple[float, list[str]]:
    """Return how much of the candidate the log could never take, and of which actions.

    The logged vectors say what could be taken in each round; without them, what was never taken could not.
    """
    if candidate.dist is None:
        return 0.0, []
    if log.logged_dist is not None:
        mass = np.where(log.logged_dist > 0, 0.0, candidate.dist).mean(axis=0)
    else:
        mass = np.where(log.logged > 0, 0.0, candidate.dist.mean(axis=0))
    return float(mass.sum()), [log.actions[i] for i in np.flatnonzero(mass)]


def _overlap(log: Log, candidate: Candidate, weights: FloatArray) -> list[Overlap]:
    k = len(log.actions)
    counts = log.logged
    mass = None if candidate.dist is None else candidate.dist.mean(axis=0)
    sums = np.bincount(log.action, weights=weights, minlength=k)
    squares = np.bincount(log.action, weights=weights**2, minlength=k)
    largest = np.zeros(k)
    np.maximum.at(largest, log.action, weights)
    effective = np.divide(sums**2, squares, out=np.zeros(k), where=squares > 0)
    return [
        Overlap(
            action=action,
            rounds=int(counts[i]),
            logged=float(counts[i] / len(log)),
            candidate=None if mass is None else float(mass[i]),
            largest_weight=float(largest[i]),
            effective=float(effective[i]),
        )
        for i, action in enumerate(log.actions)
    ]


def _calibration(log: Log) -> list[Calibration]:
    k, n = len(log.actions), len(log)
    counts = log.logged
    inverse = np.bincount(log.action, weights=1 / log.propensities, minlength=k) / n
    second = np.bincount(log.action, weights=1 / log.propensities**2, minlength=k) / n
    error = np.sqrt(np.maximum(second - inverse**2, 0.0) / n)
    found = []
    for i, action in enumerate(log.actions):
        chosen = log.action == i
        if log.logged_dist is not None:
            vector = log.logged_dist[:, i]
            expected: float | None = float(vector.sum())
            spread = math.sqrt(float((vector * (1 - vector)).sum()))
            z = _z(counts[i] - vector.sum(), spread)
            ok = counts_fit(chosen.astype(np.float64), vector, k)
        else:
            expected, z = None, _z(inverse[i] - 1, float(error[i]))
            ok = inverses_fit(log.propensities[chosen], n, k)
        found.append(Calibration(action, int(counts[i]), expected, float(inverse[i]), z, ok))
    return found


def _z(off: float, error: float) -> float:
    """Return how many errors something is off, at most `FAR`; an error may be 0, or infinite."""
    if abs(off) < _ROUNDING:
        return 0.0
    return float(np.clip(off / error, -FAR, FAR)) if error > 0 else math.copysign(FAR, off)


def _miscalibrated(one: Calibration) -> str:
    if one.expected is None:
        return (
            f"{one.action}: rounds over their propensities come to {one.inverse:.2f} of the log, which can't "
            "be above 1: these propensities are too small"
        )
    return f"{one.action}: {one.observed} rounds, where the logged vectors promise {one.expected:,.1f}"


def _matched(log: Log, candidate: Candidate) -> float | None:
    if candidate.dist is None:
        return None
    liked = log.rewards[log.action == candidate.dist.argmax(axis=1)]
    return float(liked.mean()) if len(liked) else None


def _named(actions: list[str]) -> str:
    shown = ", ".join(actions[:5])
    return shown if len(actions) <= 5 else f"{shown} and {len(actions) - 5} more"
