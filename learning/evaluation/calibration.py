"""Do propensities fit how often an action was logged? Tests that hold for any number of rounds. Pure.

Each bets on one action: a stake multiplied round by round by what would be fair if the propensities were
right. Such wealth passes 1/alpha with probability alpha at most, whenever the log stops and however its
rounds depend on earlier ones, those of one user too (Ville's inequality; Ramdas et al., "Game-theoretic
statistics and safe anytime-valid inference", Statistical Science 2023). Counts of which the propensities
promise next to nothing are far from normal: one round, where 0.005 were promised, is 14 standard errors and
no wonder among 200 actions.
"""

from __future__ import annotations

import math

import numpy as np

from learning.evaluation.rounds import FloatArray

# How often a log with right propensities is called wrong, at most, all its actions together.
FALSE_ALARMS = 1e-4
# From deviations that take a million rounds to show to single rounds that were next to impossible.
_TILTS = 2.0 ** np.arange(-7, 4)
_BETS = 2.0 ** np.arange(-14, 0)


def counts_fit(chosen: FloatArray, vector: FloatArray, actions: int) -> bool:
    """Return whether an action was logged as often as its logged probabilities promise.

    Args:
        chosen: 1 in rounds that logged the action, 0 in others; shape (n,).
        vector: its probability in each round, in [0, 1]; shape (n,).
        actions: how many actions of the log are tested.
    """
    if np.any((vector <= 0) & (chosen > 0)):
        return False
    probability = np.minimum(vector[vector > 0], 1.0)
    off = float(chosen.sum() - probability.sum())
    needed = _needed(actions)
    # By Jensen's inequality wealth is at most exp(tilt * off), which spares most actions the sum.
    if _TILTS[-1] * abs(off) < needed:
        return True
    tilts = math.copysign(1.0, off) * _TILTS
    grown = [tilt * chosen.sum() - np.log1p(probability * np.expm1(tilt)).sum() for tilt in tilts]
    # Half of the stake is on the other side, and lost.
    return _mixed(grown) - math.log(2) < needed


def inverses_fit(propensities: FloatArray, rounds: int, actions: int) -> bool:
    """Return whether 1/propensity over the rounds of an action can average 1 over all, or less.

    Args:
        propensities: of the rounds that logged the action, in (0, 1].
        rounds: how many the log has.
        actions: how many actions of the log are tested.
    """
    others = rounds - len(propensities)
    grown = [np.log1p(bet * (1 / propensities - 1)).sum() + others * math.log1p(-bet) for bet in _BETS]
    return _mixed(grown) < _needed(actions)


def _needed(actions: int) -> float:
    return math.log(actions / FALSE_ALARMS)


def _mixed(grown: list[float]) -> float:
    """Return the logarithm of the mean wealth, from logarithms."""
    return float(np.logaddexp.reduce(grown)) - math.log(len(grown))
