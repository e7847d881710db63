"""The paired difference of two policies on the same rounds, at all times at once. Pure.

Seen on rounds that a third policy drew with known propensities, (w - w')(r - c) has the mean V - V' for every
c that was fixed beforehand, because both weights average 1. Gamblers bet that it is above or below δ, as in
`wealth`; c is the mean reward so far, which takes the noise of r away that both policies share. Waudby-Smith,
Wu, Ramdas, Karampatziakis and Mineiro, "Anytime-valid off-policy inference for contextual bandits" (ACM/IMS
Journal of Data Science 2024).

Stakes are amounts λ per unit of what a round brings, not shares of what it can lose: a round in which both
policies do nearly the same tells nothing and moves nothing. A round that could cost more than the gambler
has takes less, as its largest weight, known before the draw, says. Of one user's rounds the gains are added
up and users' sums are multiplied: rounds of a user may depend on each other in any way, and a user who comes
back leaves the wealth what it is on average, so that one may look at any time.

Of a policy that learns, the first rounds say what it was and not what it is: some gamblers begin later, each
with a share that was set beforehand. What they win says that there was a time from which on it was better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

from learning.errors import InvalidRounds
from learning.evaluation import units
from learning.evaluation.rounds import FloatArray, Weighed

# How exactly bounds are found, as a share of the rewards' range.
_PRECISION = 1e-5
# A gambler never puts more than this share of the wealth at risk on one user.
_AT_RISK = 0.98
# Stakes the mixture spreads over, in units of 1 / (high - low): each is 1.5 times the next, down to such as
# weights of ten thousands call for.
_PLACES = np.arange(28.0)
_STAKES: FloatArray = _AT_RISK * 1.5**-_PLACES
# What each begins with: more on large stakes, which few rounds can tell.
_BEGINS = 1 / (_PLACES + 2)
_LOG_SHARES: FloatArray = np.log(_BEGINS / _BEGINS.sum())
# Rounds after which gamblers begin who begin late: each four times the ones before.
_FIRST_LATE = 1_000
_LATER = 4
# The share that they have together.
_LATE = 0.5


@dataclass(frozen=True, slots=True)
class Bounds:
    """The difference as it was estimated, and where it lies."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class _Gamblers:
    """What gamblers win who begin at one round and bet that the difference lies above δ, or below.

    `won` and `staked` have a row for each stake of the mixture and a column for each user, who multiplies the
    wealth by 1 + won - δ staked. `log_share` is what they begin with.
    """

    won: FloatArray
    staked: FloatArray
    log_share: float

    def log(self, delta: float) -> float:
        """Return the logarithm of what they own together if the difference is δ."""
        grown = np.log1p(self.won - delta * self.staked).sum(axis=1)
        return float(logsumexp(grown + _LOG_SHARES)) + self.log_share


@dataclass(frozen=True, slots=True, eq=False)
class _Wealth:
    """All gamblers of one side; those who wait have what they began with (`log_waiting`)."""

    gamblers: Sequence[_Gamblers]
    log_waiting: float

    def log(self, delta: float) -> float:
        """Return the logarithm of what they own together if the difference is δ."""
        return float(logsumexp([self.log_waiting, *(one.log(delta) for one in self.gamblers)]))


def paired(one: Weighed, other: Weighed, confidence: float, *, learning: bool = False) -> Bounds:
    """Return the difference of the values of two policies on the same rounds, with its confidence sequence.

    The interval holds after every round at once, so that it may be looked at daily.

    Args:
        learning: a policy changes while the rounds go on, which are in their order. Then the interval tells
            of the difference from some round on.

    Raises:
        InvalidRounds: the two were not made of the same rounds.

    >>> rng = np.random.default_rng(1)
    >>> b = rng.integers(0, 2, 3000)
    >>> rewards = (rng.random(3000) < 0.1 + 0.1 * b).astype(float)
    >>> always_b, always_a = (Weighed(rewards, 2.0 * (b == arm), largest=2) for arm in (1, 0))
    >>> found = paired(always_b, always_a, 0.95)
    >>> round(found.low, 3), round(found.value, 3), round(found.high, 3)
    (0.073, 0.12, 0.167)
    """
    if len(one) != len(other) or not np.array_equal(one.rewards, other.rewards):
        raise InvalidRounds("two policies are compared on the same rounds")
    centre = _centre(one)
    brought = (one.weights - other.weights) * (one.rewards - centre)
    above, below = one.high - centre, centre - one.low
    largest = np.maximum(one.caps * above, other.caps * below)
    least = np.maximum(one.caps * below, other.caps * above)
    spread = one.high - one.low
    value = float(brought.mean())
    threshold = math.log(2 / (1 - confidence))
    # What a round can cost, whatever the difference is: stakes then do not depend on it.
    ups = _wealth(one, brought, least + spread, learning)
    downs = _wealth(one, -brought, largest + spread, learning)
    low = _bound(lambda delta: ups.log(delta) - threshold, spread)
    high = -_bound(lambda delta: downs.log(delta) - threshold, spread)
    if low > high:
        # Better from one round on and worse from another: nothing in between is ruled out.
        low, high = high, low
    return Bounds(min(max(value, low), high), low, high)


def _centre(rounds: Weighed) -> FloatArray:
    """Return the mean reward of the rounds before each, other users' alone, from half of what can be."""
    sums, counts = _before(rounds.rewards), np.arange(len(rounds), dtype=np.float64)
    if rounds.owners is not None:
        # What was learnt from a user must not centre the user's own rounds.
        sums = sums - units.earlier(rounds.owners, rounds.rewards)
        counts = counts - units.earlier(rounds.owners, np.ones(len(rounds)))
    centre: FloatArray = (sums + (rounds.low + rounds.high) / 2) / (counts + 1)
    return centre


def _before(values: FloatArray) -> FloatArray:
    return np.concatenate([[0.0], np.cumsum(values)[:-1]])


def _wealth(rounds: Weighed, gained: FloatArray, worst: FloatArray, learning: bool) -> _Wealth:
    """Return what gamblers stake on `gained`, round by round, of which each can cost `worst`."""
    if not learning:
        return _Wealth([_gamblers(rounds, gained, worst, 0, 0.0)], -math.inf)
    gamblers = [_gamblers(rounds, gained, worst, 0, math.log(1 - _LATE))]
    start, waiting = _FIRST_LATE, _LATE
    while start < len(rounds):
        # Half of those who wait begin.
        waiting /= 2
        gamblers.append(_gamblers(rounds, gained, worst, start, math.log(waiting)))
        start *= _LATER
    return _Wealth(gamblers, math.log(waiting))


def _gamblers(
    rounds: Weighed, gained: FloatArray, worst: FloatArray, start: int, log_share: float
) -> _Gamblers:
    owners = None if rounds.owners is None else rounds.owners[start:]
    gained, worst = gained[start:], worst[start:]
    # Rounding must not make a little of what was nothing.
    earlier = np.maximum(units.earlier(owners, worst), 0.0)
    won, staked = [], []
    for stake in _STAKES / (rounds.high - rounds.low):
        put = np.clip((_AT_RISK - stake * earlier) / worst, 0.0, stake)
        won.append(units.sums(owners, put * gained))
        staked.append(units.sums(owners, put))
    return _Gamblers(np.array(won), np.array(staked), log_share)


def _bound(excess: Callable[[float], float], spread: float) -> float:
    """Return the largest difference that is ruled out, of those in [-spread, spread]; `excess` falls."""
    edge = spread * (1 - 1e-9)
    if excess(-edge) <= 0:
        return -spread
    return edge if excess(edge) >= 0 else float(brentq(excess, -edge, edge, xtol=_PRECISION * spread))
