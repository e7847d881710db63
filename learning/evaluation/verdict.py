"""Better or worse than the baseline: the paired difference, and what it comes to in words. Pure."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np

from learning.evaluation import units
from learning.evaluation.diagnostics import MOST_UNSUPPORTED, Diagnostics
from learning.evaluation.rounds import FloatArray, Weighed


class Word(StrEnum):
    """What an evaluation comes to."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "not distinguishable"
    NOT_EVALUABLE = "not evaluable"


def difference(
    candidate: tuple[float, float, float], baseline: tuple[float, float, float], correlation: float
) -> tuple[float, float, float]:
    """Return the difference of two estimates, each (value, low, high), with its interval.

    MOVER: Zou and Donner, "Construction of confidence limits about effect measures" (Statistics in Medicine
    2008), with the correlation of the two (Zou 2007). It keeps the asymmetry of both intervals.

    >>> tuple(round(one, 3) for one in difference((0.5, 0.4, 0.7), (0.3, 0.2, 0.4), 0.0))
    (0.2, 0.059, 0.424)
    """
    value, low, high = candidate
    other, other_low, other_high = baseline
    off = value - other
    down = _reach(value - low, other_high - other, correlation)
    up = _reach(high - value, other - other_low, correlation)
    return off, off - down, off + up


def correlation(rounds: Weighed, one: FloatArray, other: FloatArray) -> float:
    """Return the correlation of two estimates from their influences, users being independent."""
    a, b = units.summed(rounds, one), units.summed(rounds, other)
    spread = math.sqrt(float(np.square(a).sum()) * float(np.square(b).sum()))
    return float(np.clip((a * b).sum() / spread, -1.0, 1.0)) if spread > 0 else 0.0


def verdict(found: Diagnostics, low: float, high: float, *, overlaps: bool) -> str:
    """Return the verdict: a word, and why where the log can't tell.

    Args:
        low: of the interval of the difference to the baseline.
        overlaps: whether the candidate ever does what was logged.
    """
    reason = _not_evaluable(found, overlaps)
    if reason:
        return f"{Word.NOT_EVALUABLE.value}: {reason}"
    if low > 0:
        return Word.BETTER.value
    return Word.WORSE.value if high < 0 else Word.SAME.value


def _not_evaluable(found: Diagnostics, overlaps: bool) -> str:
    if found.unsupported > MOST_UNSUPPORTED or not overlaps:
        wanted = found.unsupported_actions or [one.action for one in found.overlap if one.candidate]
        named = ", ".join(wanted[:5]) + (f" and {len(wanted) - 5} more" if len(wanted) > 5 else "")
        return f"no support for {named or 'anything the candidate does'}"
    mean = found.mean_weight
    if not mean.ok and mean.value < 1:
        missing = f"{1 - mean.value:.0%} of what the candidate does"
        return f"no support for {missing}: weights average {mean.value:.3f} instead of 1"
    if not mean.ok:
        return f"the propensities do not fit the log: weights average {mean.value:.3f} instead of 1"
    wrong = [one.action for one in found.propensity_calibration if not one.ok]
    if wrong:
        return f"the propensities of {', '.join(wrong[:5])} do not fit how often they were logged"
    return ""


def _reach(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0.0))
