"""The test by which a pilot graduates or ends, on what its decisions earned. Pure.

Rewards lie in [lowest, highest]; shifted and scaled, in [0, 1]. For any such reward with mean m,
E[(q/m)^x ((1-q)/(1-m))^(1-x)] <= 1 for each q, because the left side is convex in x and 1 at Bernoulli(m); so
the mixture of these over q ~ Beta(1/2, 1/2) is a non-negative supermartingale. By Ville's inequality

    { m : ln B(1/2 + S, 1/2 + n - S) - ln B(1/2, 1/2) - S ln m - (n - S) ln(1 - m) < ln(1/alpha) }

with n rewards of sum S holds the mean at all times at once with probability 1 - alpha, so one may look at
each reward and stop when one likes (Robbins 1970, "Statistical methods related to the law of the iterated
logarithm"; Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence
sequences", section on sub-Bernoulli mixtures). Assumed: the mean does not drift during the pilot, and users
are not influenced by one another.

A pilot with a fixed test is looked at once, when it has the decisions it was to have: then the interval is
that of Clopper and Pearson (1934) where rewards are all or nothing, else that of Hoeffding (1963).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Literal

import msgspec
from scipy.optimize import brentq
from scipy.special import betaincinv, betaln

from playbooks.models import Pilot

# The prior of Jeffreys: its intervals are within a few per cent of the narrowest for means near 0 and 1/2.
_PRIOR = 0.5
_EDGE = 1e-12


class Outcome(StrEnum):
    """What a pilot came to."""

    RUNNING = "running"
    GRADUATES = "graduates"
    ENDS = "ends"
    TOO_GOOD = "too_good"


class Earned(msgspec.Struct, frozen=True):
    """What decisions of a pilot earned: how many have their reward, the sum, and if all is lowest or highest.

    `lowest` and `highest` are the least and the most that one decision can earn; `waiting` counts decisions
    whose reward is not known.
    """

    rewards: int
    total: float
    highest: float
    binary: bool = True
    waiting: int = 0
    lowest: float = 0.0

    def at(self, part: float) -> float:
        """Return the reward at a part of the way from the lowest to the highest."""
        return self.lowest + part * (self.highest - self.lowest)


class Verdict(msgspec.Struct, frozen=True):
    """How a pilot stands: the mean reward of a decision with its interval, against what was expected."""

    outcome: Outcome
    why: str
    test: Literal["always_valid", "fixed"]
    rewards: int
    waiting: int
    mean: float
    low: float
    high: float
    floor: float
    ceiling: float
    alpha: float


def judge(pilot: Pilot, earned: Earned) -> Verdict:
    """Return how a pilot stands.

    Proven above its floor it graduates, proven below it ends, and so does one that has all its decisions
    and has proven nothing. Proven above its ceiling it is too good to be true.

    >>> from playbooks.models import Pilot
    >>> pilot = Pilot(share=0.1, floor=0.1, ceiling=0.5)
    >>> judge(pilot, Earned(rewards=200, total=60.0, highest=1.0)).outcome.value
    'graduates'
    """
    test = pilot.test
    if test.kind == "always_valid":
        low, high = confidence_sequence(earned, test.alpha)
    else:
        low, high = fixed_interval(earned, test.alpha)
    complete = earned.rewards >= test.decisions
    looked = complete or test.kind == "always_valid"
    outcome, why = _outcome(pilot, low, high, looked=looked, complete=complete)
    return Verdict(
        outcome=outcome,
        why=why,
        test=test.kind,
        rewards=earned.rewards,
        waiting=earned.waiting,
        mean=earned.total / earned.rewards if earned.rewards else 0.0,
        low=low,
        high=high,
        floor=pilot.floor,
        ceiling=pilot.ceiling,
        alpha=test.alpha,
    )


def confidence_sequence(earned: Earned, alpha: float) -> tuple[float, float]:
    """Return low and high of the mean reward, valid at all times at once with probability 1 - alpha.

    >>> low, high = confidence_sequence(Earned(rewards=100, total=30.0, highest=1.0), 0.05)
    >>> round(low, 3), round(high, 3)
    (0.166, 0.463)
    """
    n, total = earned.rewards, _unit(earned)
    if n == 0:
        return earned.lowest, earned.highest
    mixture = float(betaln(_PRIOR + total, _PRIOR + n - total) - betaln(_PRIOR, _PRIOR))

    def excess(mean: float) -> float:
        return mixture - total * math.log(mean) - (n - total) * math.log1p(-mean) + math.log(alpha)

    mean = min(max(total / n, _EDGE), 1 - _EDGE)
    low = 0.0 if total == 0 else _root(excess, _EDGE, mean)
    high = 1.0 if total == n else _root(excess, mean, 1 - _EDGE)
    return earned.at(low), earned.at(high)


def fixed_interval(earned: Earned, alpha: float) -> tuple[float, float]:
    """Return low and high of the mean reward, valid at one look with probability 1 - alpha."""
    n, total = earned.rewards, _unit(earned)
    if n == 0:
        return earned.lowest, earned.highest
    if earned.binary:
        hits = round(total)
        low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, alpha / 2))
        high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - alpha / 2))
    else:
        half = math.sqrt(math.log(2 / alpha) / (2 * n))
        low, high = max(0.0, total / n - half), min(1.0, total / n + half)
    return earned.at(low), earned.at(high)


def _outcome(pilot: Pilot, low: float, high: float, *, looked: bool, complete: bool) -> tuple[Outcome, str]:
    interval = f"the mean reward lies in [{low:.4g}, {high:.4g}]"
    if not looked:
        return Outcome.RUNNING, f"it is looked at when {pilot.test.decisions} decisions have their rewards"
    if low > pilot.ceiling:
        return (
            Outcome.TOO_GOOD,
            f"{interval}, above the ceiling {pilot.ceiling:g}: look what is counted twice",
        )
    if low > pilot.floor:
        return Outcome.GRADUATES, f"{interval}, above the floor {pilot.floor:g}"
    if high < pilot.floor:
        return Outcome.ENDS, f"{interval}, below the floor {pilot.floor:g}"
    if complete:
        return Outcome.ENDS, (
            f"{interval} after {pilot.test.decisions} decisions: not proven to be above the floor "
            f"{pilot.floor:g}"
        )
    return Outcome.RUNNING, f"{interval}, the floor {pilot.floor:g} in it"


def _unit(earned: Earned) -> float:
    span = earned.highest - earned.lowest
    total = earned.total - earned.rewards * earned.lowest
    return min(max(total / span, 0.0), float(earned.rewards)) if span > 0 else 0.0


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    """Return where the mixture crosses the threshold; the interval reaches to the edge if it does not."""
    if excess(low) * excess(high) > 0:
        return low if low <= _EDGE else high
    return float(brentq(excess, low, high, xtol=1e-12))
