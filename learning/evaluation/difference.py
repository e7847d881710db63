"""The paired difference of two policies on the same rounds, at all times at once. Pure.

Seen on rounds that a third policy drew with known propensities, (w - w')(r - c) has the mean V - V' for every
c that was fixed beforehand, because both weights average 1. Gamblers bet that it is above or below δ, as in
`wealth`; c is the mean reward so far, which takes the noise of r away that both policies share. Waudby-Smith,
Wu, Ramdas, Karampatziakis and Mineiro, "Anytime-valid off-policy inference for contextual bandits" (ACM/IMS
Journal of Data Science 2024).

Stakes are amounts λ per unit of what a round brings, not shares of what it can lose: a round in which both
policies do nearly the same tells nothing and moves nothing. They are shares of 1 / σ, where σ² is the mean
square of what rounds brought so far: the best stake on a difference δ is δ / σ², so that few shares serve
small and large rewards and weights (the plug-in of Waudby-Smith and Ramdas, JRSS B 2023, 3.2). A round that
could cost more than the gambler has takes less, as its largest weight, known before the draw, says. Of one
user's rounds the gains are added up and users' sums are multiplied: rounds of a user may depend on each other
in any way, and a user who comes back leaves the wealth what it is on average, so that one may look at any
time.

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
# Stakes the mixture spreads over, in units of 1 / σ: each is 1.8 times the next. The best for a difference
# that n rounds prove is about 3 / √n: from some ten rounds to ten millions.
_PLACES = np.arange(13.0)
_STAKES: FloatArray = 0.8 * 1.8**-_PLACES
# What each begins with: most for thousands to a hundred thousand rounds, where challengers are proven.
_BEGINS = 1 / (1 + ((_PLACES - 5) / 3.5) ** 2)
_LOG_SHARES: FloatArray = np.log(_BEGINS / _BEGINS.sum())
# A variance is not taken for less, as a share of the rewards' range, squared.
_LEAST = 1e-9
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

    def most(self) -> float:
        """Return the logarithm of the most they ever own together if there is no difference."""
        grown = np.log1p(self.won).cumsum(axis=1) + _LOG_SHARES[:, None]
        return float(logsumexp(grown, axis=0).max()) + self.log_share


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
    (0.076, 0.12, 0.163)
    """
    ups, downs, value = _sides(one, other, learning)
    spread = one.high - one.low
    threshold = _threshold(confidence)
    low = _bound(lambda delta: ups.log(delta) - threshold, spread)
    high = -_bound(lambda delta: downs.log(delta) - threshold, spread)
    if low > high:
        # Better from one round on and worse from another: nothing in between is ruled out.
        low, high = high, low
    return Bounds(min(max(value, low), high), low, high)


def ever_proven(one: Weighed, other: Weighed, confidence: float) -> bool:
    """Say whether somebody who looked after every round would ever have found the two to differ.

    What is staked on a round depends on those before it alone, so that the wealth after each is that of
    `paired` on the rounds so far.

    Raises:
        InvalidRounds: as `paired`, or rounds that belong to users, whose gains come in one.
    """
    if one.owners is not None:
        raise InvalidRounds("who looks after every round sees users' gains in parts; leave the users out")
    ups, downs, _ = _sides(one, other, learning=False)
    return any(side.gamblers[0].most() >= _threshold(confidence) for side in (ups, downs))


def _threshold(confidence: float) -> float:
    """Return the logarithm of the wealth that proves something, of two sides with half of the error each."""
    return math.log(2 / (1 - confidence))


def _sides(one: Weighed, other: Weighed, learning: bool) -> tuple[_Wealth, _Wealth, float]:
    """Return who bets that the first is better, who bets that it is worse, and the difference itself."""
    if len(one) != len(other) or not np.array_equal(one.rewards, other.rewards):
        raise InvalidRounds("two policies are compared on the same rounds")
    centre = _centre(one)
    brought = (one.weights - other.weights) * (one.rewards - centre)
    above, below = one.high - centre, centre - one.low
    largest = np.maximum(one.caps * above, other.caps * below)
    least = np.maximum(one.caps * below, other.caps * above)
    # What a round can cost, whatever the difference is: stakes then do not depend on it.
    spread = one.high - one.low
    ups = _wealth(one, brought, least + spread, learning)
    downs = _wealth(one, -brought, largest + spread, learning)
    return ups, downs, float(brought.mean())


def _centre(rounds: Weighed) -> FloatArray:
    """Return the mean reward of the rounds before each, other users' alone, from half of what can be."""
    return _mean_before(rounds, rounds.rewards, (rounds.low + rounds.high) / 2)


def _mean_before(rounds: Weighed, values: FloatArray, first: float) -> FloatArray:
    """Return the mean of the values before each round, `first` counted as one, the user's own left out.

    What was learnt from a user must not decide about the user's own rounds.
    """
    sums = np.concatenate([[0.0], np.cumsum(values)[:-1]])
    counts = np.arange(len(rounds), dtype=np.float64)
    if rounds.owners is not None:
        # Rounding must not take more than there was.
        sums = np.maximum(sums - units.earlier(rounds.owners, values), min(float(values.min()), 0.0) * counts)
        counts = counts - units.earlier(rounds.owners, np.ones(len(rounds)))
    mean: FloatArray = (sums + first) / (counts + 1)
    return mean


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
    spread = rounds.high - rounds.low
    deviation = np.sqrt(np.maximum(_mean_before(rounds, gained**2, spread**2), _LEAST * spread**2))
    owners = None if rounds.owners is None else rounds.owners[start:]
    gained, worst, unit = gained[start:], worst[start:], 1 / deviation[start:]
    # Rounding must not make a little of what was nothing.
    earlier = np.maximum(units.earlier(owners, worst * unit), 0.0)
    won, staked = [], []
    for stake in _STAKES:
        put = np.clip((_AT_RISK - stake * earlier) / worst, 0.0, stake * unit)
        won.append(units.sums(owners, put * gained))
        staked.append(units.sums(owners, put))
    return _Gamblers(np.array(won), np.array(staked), log_share)


def _bound(excess: Callable[[float], float], spread: float) -> float:
    """Return the largest difference that is ruled out, of those in [-spread, spread]; `excess` falls."""
    edge = spread * (1 - 1e-9)
    if excess(-edge) <= 0:
        return -spread
    return edge if excess(edge) >= 0 else float(brentq(excess, -edge, edge, xtol=_PRECISION * spread))
