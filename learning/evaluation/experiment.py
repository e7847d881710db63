"""An experiment: the arms of a fixed split beside each other, looked at as often as one likes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from audiences.rules.source import closest
from learning.errors import NoExperiment
from learning.evaluation.difference import paired
from learning.evaluation.estimators.snips import SNIPS
from learning.evaluation.evaluate import CONFIDENCE
from learning.evaluation.intervals.sequence import confidence_sequence
from learning.evaluation.log import Log
from learning.evaluation.rounds import TOLERANCE, FloatArray, Weighed
from learning.evaluation.sample_ratio import sample_ratio
from learning.evaluation.verdict import Word

# A split that is right is called wrong this seldom, however often one looks.
SPLIT_ALARM = 0.001
# Days that a report tells of, the last ones.
_DAYS = 60

Bounds = tuple[float, float]


class Arm(msgspec.Struct, frozen=True):
    """One arm: its share of the draws, how many it had, its mean reward and where that lies at all times."""

    arm: str
    share: float
    decisions: int
    value: float | None
    interval: Bounds


class Day(msgspec.Struct, frozen=True):
    """What was known of an arm's difference to the control at the end of a UTC day, days before included."""

    day: str
    arm: str
    decisions: int
    value: float
    interval: Bounds


class Comparison(msgspec.Struct, frozen=True):
    """An arm against the control: the difference per decision and what it comes to."""

    arm: str
    value: float
    interval: Bounds
    verdict: str


class SampleRatio(msgspec.Struct, frozen=True):
    """Expected and observed draws of each arm, and the p-value of the split at all times at once."""

    expected: Mapping[str, float]
    observed: Mapping[str, int]
    p_value: float
    ok: bool


class Experiment(msgspec.Struct, frozen=True):
    """What an experiment says. All intervals hold at all times at once: it may end whenever one likes."""

    control: str
    confidence: float
    arms: list[Arm]
    comparisons: list[Comparison]
    sample_ratio: SampleRatio
    days: list[Day]
    verdict: str


def experiment(log: Log, control: str | None = None, confidence: float = CONFIDENCE) -> Experiment:
    """Return what a fixed split says.

    Args:
        log: of rounds that a fixed split drew: with the vectors, or with the same propensity in all rounds of
            an arm.
        control: what the others are compared with; the arm of the largest share where nobody says.

    Raises:
        NoExperiment: the rounds were not drawn by a fixed split of two or more arms, or not of this control.
    """
    shares = _shares(log)
    arms = [int(one) for one in np.flatnonzero(shares)]
    names = [log.actions[one] for one in arms]
    if control is not None and control not in names:
        raise NoExperiment(
            f"the split has no arm {control!r}; {closest(control, names) or ''} its arms are "
            f"{', '.join(names)}"
        )
    base = log.actions.index(control) if control is not None else max(arms, key=lambda one: shares[one])
    others = [one for one in arms if one != base]
    # Each of several comparisons gets its part of the error.
    each = 1 - (1 - confidence) / len(others)
    split = _split(log, arms, shares)
    comparisons = [_compare(log, one, base, shares, each) for one in others]
    order = np.arange(len(log)) if log.moments is None else np.argsort(log.moments, kind="stable")
    days = [day for one in others for day in _days(log, order, one, base, shares, each)]
    verdict = "; ".join(f"{one.arm} {one.verdict}" for one in comparisons)
    if not split.ok:
        verdict = (
            f"{Word.NOT_EVALUABLE.value}: the arms did not come up as the split says "
            f"(p = {split.p_value:.2g}); find what loses or adds decisions"
        )
    return Experiment(
        control=log.actions[base],
        confidence=confidence,
        arms=[_arm(log, one, shares, confidence) for one in arms],
        comparisons=comparisons,
        sample_ratio=split,
        days=days,
        verdict=verdict,
    )


def _shares(log: Log) -> FloatArray:
    """Return the share of each action, 0 for those that take no part."""
    if log.logged_dist is not None:
        if np.abs(log.logged_dist - log.logged_dist[0]).max() > TOLERANCE:
            raise NoExperiment("the vectors change from round to round: no fixed split drew these decisions")
        shares: FloatArray = log.logged_dist[0]
    else:
        shares = np.zeros(len(log.actions))
        for action in range(len(log.actions)):
            drawn = log.propensities[log.action == action]
            if len(drawn):
                if np.ptp(drawn) > TOLERANCE:
                    raise NoExperiment(
                        f"{log.actions[action]} has propensities from {drawn.min():g} to {drawn.max():g}: no "
                        "fixed split drew these rounds"
                    )
                shares[action] = drawn[0]
        if abs(shares.sum() - 1) > TOLERANCE:
            raise NoExperiment(
                f"the propensities of the arms sum to {shares.sum():.6g} instead of 1: an arm never came up, "
                "or no fixed split drew these rounds"
            )
    if np.count_nonzero(shares) < 2:
        raise NoExperiment("one arm only: there is nothing to compare")
    return shares


def _weighed(log: Log, arm: int, shares: FloatArray) -> Weighed:
    weights = (log.action == arm) / shares[arm]
    return Weighed(
        log.rewards, weights, low=log.low, high=log.high, largest=1 / float(shares[arm]), owners=log.owners
    )


def _arm(log: Log, arm: int, shares: FloatArray, confidence: float) -> Arm:
    rounds = _weighed(log, arm, shares)
    drawn = int((log.action == arm).sum())
    value, interval = None, (log.low, log.high)
    if drawn:
        terms = SNIPS.terms(rounds)
        value, interval = terms.value, confidence_sequence(terms, rounds, confidence) or interval
    return Arm(log.actions[arm], float(shares[arm]), drawn, value, interval)


def _compare(log: Log, arm: int, base: int, shares: FloatArray, confidence: float) -> Comparison:
    found = paired(_weighed(log, arm, shares), _weighed(log, base, shares), confidence)
    word = Word.SAME
    if found.low > 0:
        word = Word.BETTER
    elif found.high < 0:
        word = Word.WORSE
    return Comparison(log.actions[arm], found.value, (found.low, found.high), word.value)


def _split(log: Log, arms: Sequence[int], shares: FloatArray) -> SampleRatio:
    counts = log.logged[arms]
    p = sample_ratio(counts, shares[arms])
    return SampleRatio(
        expected={log.actions[one]: float(shares[one] * len(log)) for one in arms},
        observed={log.actions[one]: int(log.logged[one]) for one in arms},
        p_value=p,
        ok=p >= SPLIT_ALARM,
    )


def _days(
    log: Log, order: NDArray[np.intp], arm: int, base: int, shares: FloatArray, confidence: float
) -> Iterator[Day]:
    if log.moments is None:
        return
    days = log.moments[order].astype("datetime64[D]")
    for day in np.unique(days)[-_DAYS:]:
        part = order[: int(np.searchsorted(days, day, side="right"))]
        seen = replace(
            log,
            action=log.action[part],
            rewards=log.rewards[part],
            propensities=log.propensities[part],
            owners=None if log.owners is None else np.unique(log.owners[part], return_inverse=True)[1],
        )
        found = _compare(seen, arm, base, shares, confidence)
        yield Day(str(day), found.arm, len(part), found.value, found.interval)
