"""Evaluation: what a candidate policy would have been worth, with interval and doubts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from learning.errors import InvalidRounds
from learning.estimators import doubly_robust_terms

FloatArray = NDArray[np.float64]

_CONFIDENCE = 0.95
_RESAMPLES = 2_000
# Below this many effective rounds or users, intervals were measured to cover far less than they say.
_MIN_EFFECTIVE = 100.0
_MIN_USERS = 30
# A single weight above this share of all of them decides the estimate alone.
_MAX_SHARE = 0.05
# Weights average 1 when propensities are right; further off than this many standard errors, they are not.
_MEAN_WEIGHT_ERRORS = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """n logged rounds: who, what the drawn action brought, and with which propensity it was drawn."""

    users: Sequence[str]
    rewards: FloatArray
    propensities: FloatArray

    def __len__(self) -> int:
        return len(self.rewards)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Value of a policy per decision, with its 95 % interval.

    `effective` is the effective sample size (Σ w)² / Σ w², `largest_weight` and `mean_weight` (1 when all is
    well) are of the importance weights, `users` the number of independent users. `doubts` say in words why
    the interval may promise too much; an estimate with doubts proves nothing.
    """

    value: float
    low: float
    high: float
    rounds: int
    users: int
    effective: float
    largest_weight: float
    mean_weight: float
    doubts: tuple[str, ...]


def estimate(
    rounds: Rounds,
    candidate: FloatArray,
    q_chosen: FloatArray,
    q_candidate: FloatArray,
    *,
    interval: Literal["normal", "bootstrap"] = "normal",
    seed: int = 0,
) -> Estimate:
    """Return the doubly robust estimate of a candidate's value.

    One user decides many times, so users and not rounds are taken as independent: the interval is the
    normal one with cluster-robust variance (Liang and Zeger, Biometrika 1986) and Student's t of
    users − 1 degrees, or the percentile bootstrap over users.

    Args:
        candidate: the candidate's probability of each logged action, shape (n,), in [0, 1].
        q_chosen: the reward model's prediction for each logged action, shape (n,).
        q_candidate: its prediction averaged over the candidate's probabilities, shape (n,).
        seed: of the bootstrap.

    Raises:
        InvalidRounds: empty or uneven arrays, or probabilities out of range.

    >>> rng = np.random.default_rng(3)
    >>> rewards = (rng.random(4000) < 0.2).astype(float)
    >>> rounds = Rounds([f"u{i % 500}" for i in range(4000)], rewards, np.full(4000, 0.5))
    >>> result = estimate(rounds, np.full(4000, 0.5), np.full(4000, 0.2), np.full(4000, 0.2))
    >>> round(result.value, 4), round(result.low, 4), round(result.high, 4), result.doubts
    (0.2092, 0.1968, 0.2217, ())
    """
    _check(rounds, candidate)
    weights = candidate / rounds.propensities
    terms = doubly_robust_terms(rounds.rewards, weights, q_chosen, q_candidate)
    _, owners = np.unique(np.asarray(rounds.users), return_inverse=True)
    users = int(owners.max()) + 1
    value = float(terms.mean())
    if users < 2:
        low, high = -np.inf, np.inf
    elif interval == "normal":
        low, high = _normal(terms, owners, users)
    else:
        low, high = _bootstrap(terms, owners, users, seed)
    total, squares = float(weights.sum()), float((weights**2).sum())
    effective = total**2 / squares if squares > 0 else 0.0
    return Estimate(
        value=value,
        low=float(low),
        high=float(high),
        rounds=len(rounds),
        users=users,
        effective=effective,
        largest_weight=float(weights.max()),
        mean_weight=float(weights.mean()),
        doubts=tuple(_doubts(weights, owners, users, effective)),
    )


def _normal(terms: FloatArray, owners: NDArray[np.intp], users: int) -> tuple[float, float]:
    sums = np.bincount(owners, weights=terms - terms.mean(), minlength=users)
    error = np.sqrt(users / (users - 1) * float(sums @ sums)) / len(terms)
    reach = float(stats.t.ppf((1 + _CONFIDENCE) / 2, users - 1)) * error
    return terms.mean() - reach, terms.mean() + reach


def _bootstrap(terms: FloatArray, owners: NDArray[np.intp], users: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    sums = np.bincount(owners, weights=terms, minlength=users)
    sizes = np.bincount(owners, minlength=users).astype(np.float64)
    means = np.empty(_RESAMPLES)
    for index in range(_RESAMPLES):
        drawn = np.bincount(rng.integers(0, users, users), minlength=users)
        means[index] = drawn @ sums / (drawn @ sizes)
    low, high = np.quantile(means, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return float(low), float(high)


def _doubts(weights: FloatArray, owners: NDArray[np.intp], users: int, effective: float) -> list[str]:
    doubts = []
    if users < _MIN_USERS:
        doubts.append(f"only {users} users; at least {_MIN_USERS} are needed")
    if effective < _MIN_EFFECTIVE:
        doubts.append(f"the log is worth only {effective:.0f} rounds of this policy")
    total = float(weights.sum())
    if total > 0 and (share := float(weights.max()) / total) > _MAX_SHARE:
        doubts.append(f"a single round carries {share:.0%} of all weight")
    if users >= 2:
        sums = np.bincount(owners, weights=weights - weights.mean(), minlength=users)
        error = float(np.sqrt(users / (users - 1) * (sums @ sums))) / len(weights)
        if abs(weights.mean() - 1) > _MEAN_WEIGHT_ERRORS * error + 1e-9:
            doubts.append(
                f"weights average {weights.mean():.3f} instead of 1: the propensities do not fit this log, "
                "or the candidate does what was never tried"
            )
    return doubts


def _check(rounds: Rounds, candidate: FloatArray) -> None:
    n = len(rounds)
    if n == 0:
        raise InvalidRounds("there are no rounds to judge on")
    if len(rounds.users) != n or rounds.propensities.shape != (n,) or candidate.shape != (n,):
        raise InvalidRounds(f"{n} rounds need one user, one propensity and one candidate's probability each")
    if not ((rounds.propensities > 0) & (rounds.propensities <= 1)).all():
        raise InvalidRounds("propensities must lie in (0, 1]")
    if not ((candidate >= 0) & (candidate <= 1 + 1e-9)).all():
        raise InvalidRounds("the candidate's probabilities must lie in [0, 1]")
