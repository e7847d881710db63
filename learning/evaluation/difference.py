"""The paired difference of two policies on the same rounds, at all times at once. Pure.

Seen on rounds that a third policy drew with known propensities, (w - w')(r - c) has the mean V - V' for every
c that was fixed beforehand, because both weights average 1. Gamblers bet that it is above or below δ, as in
`wealth`; c is the mean reward so far, which takes the noise of r away that both policies share. Waudby-Smith,
Wu, Ramdas, Karampatziakis and Mineiro, "Anytime-valid off-policy inference for contextual bandits" (ACM/IMS
Journal of Data Science 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from learning.errors import InvalidRounds
from learning.evaluation import units
from learning.evaluation.intervals.sequence import mixed_log_wealth
from learning.evaluation.rounds import FloatArray, Weighed

_PRECISION = 1e-6


@dataclass(frozen=True, slots=True)
class Bounds:
    """The difference as it was estimated, and where it lies."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class _Bets:
    """What each unit brings, how often it decided, and how far below and above it can lie."""

    brought: FloatArray
    sizes: FloatArray
    least: FloatArray
    largest: FloatArray

    def stakes(self, delta: float, *, up: bool) -> FloatArray:
        z = self.brought - delta * self.sizes
        worst = delta * self.sizes - self.least if up else self.largest - delta * self.sizes
        share: FloatArray = np.maximum((z if up else -z) / np.maximum(worst, 1e-300), -1.0)
        return share


def paired(one: Weighed, other: Weighed, confidence: float) -> Bounds:
    """Return the difference of the values of two policies on the same rounds, with its confidence sequence.

    The interval holds after every round at once, so that it may be looked at daily. Users are units: one who
    decided m times counts as m rounds that may all go the same way.

    Raises:
        InvalidRounds: the two were not made of the same rounds.

    >>> rng = np.random.default_rng(1)
    >>> b = rng.integers(0, 2, 3000)
    >>> rewards = (rng.random(3000) < 0.1 + 0.1 * b).astype(float)
    >>> always_b, always_a = (Weighed(rewards, 2.0 * (b == arm), largest=2) for arm in (1, 0))
    >>> found = paired(always_b, always_a, 0.95)
    >>> round(found.low, 3), round(found.value, 3), round(found.high, 3)
    (0.075, 0.12, 0.168)
    """
    if len(one) != len(other) or not np.array_equal(one.rewards, other.rewards):
        raise InvalidRounds("two policies are compared on the same rounds")
    bets = _bets(one, other)
    spread = one.high - one.low
    value = float(bets.brought.sum() / bets.sizes.sum())
    threshold = math.log(2 / (1 - confidence))
    ones = np.ones(len(bets.brought))

    def excess(delta: float, up: bool) -> float:
        return mixed_log_wealth(bets.stakes(delta, up=up), ones) - threshold

    edge = spread * (1 - 1e-9)
    inside = min(max(value, -edge), edge)
    low, high = -spread, spread
    if excess(-edge, True) > 0:
        low = _crossing(excess, -edge, inside, True)
    if excess(edge, False) > 0:
        high = _crossing(excess, edge, inside, False)
    return Bounds(value, low, high)


def _bets(one: Weighed, other: Weighed) -> _Bets:
    n = len(one)
    if one.owners is None:
        # The mean so far, from half of what can be in one round.
        sums = np.concatenate([[0.0], np.cumsum(one.rewards)[:-1]])
        centre = (sums + (one.low + one.high) / 2) / np.arange(1, n + 1)
    else:
        # Users come back, and what was learnt from one must not centre his own rounds.
        centre = np.full(n, one.low)
    brought = (one.weights - other.weights) * (one.rewards - centre)
    above, below = one.high - centre, centre - one.low
    largest = np.maximum(one.bound * above, other.bound * below)
    least = -np.maximum(one.bound * below, other.bound * above)
    most = units.most(one)
    if one.owners is None:
        return _Bets(brought, np.ones(n), least, largest)
    count = units.number(one)
    return _Bets(
        units.summed(one, brought),
        units.summed(one, np.ones(n)),
        np.full(count, most * float(least.min())),
        np.full(count, most * float(largest.max())),
    )


def _crossing(excess: Callable[[float, bool], float], outside: float, inside: float, up: bool) -> float:
    if excess(inside, up) >= 0:
        return inside
    return float(brentq(lambda delta: excess(delta, up), outside, inside, xtol=_PRECISION))
