"""Experiments on the service's own decisions, and as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from learning import version_repository
from learning.errors import NoExperiment
from learning.evaluation.evaluate import CONFIDENCE
from learning.evaluation.experiment import Experiment, experiment
from learning.evaluation.rounds import TOLERANCE
from learning.rounds import see_again
from storage.engine import Database

_DAYS = 14


def own_experiment(
    database: Database, policy: str, control: str | None = None, confidence: float = CONFIDENCE
) -> Experiment:
    """Return what a policy version that splits by fixed shares found out so far.

    Its own decisions count whose rewards are known, where all arms were eligible.

    Raises:
        UnknownVersion: there is no such version.
        NoExperiment: it splits nothing, or decided nothing yet.
    """
    with database.read() as connection:
        version = version_repository.version(connection, policy)
    kind = version.specification().exploration.kind
    if kind != "fixed_split":
        raise NoExperiment(
            f"{policy} explores by {kind}; an experiment is a policy with exploration.kind fixed_split"
        )
    seen = see_again(database, version, after=0)
    dist, vectors = seen.candidate.dist, seen.log.logged_dist
    if dist is None or vectors is None:
        raise NoExperiment(f"the decisions of {policy} have no vectors")
    whole = np.count_nonzero(dist, axis=1) == np.count_nonzero(dist, axis=1).max()
    own = whole & (np.abs(dist - vectors).max(axis=1) <= TOLERANCE)
    if not own.any():
        raise NoExperiment(f"{policy} made no decision yet whose reward is known")
    return experiment(seen.log.only(own), control, confidence)


def told(found: Experiment) -> Iterator[str]:
    """Yield the lines: verdict, arms, differences, the split, and the last days."""
    yield f"{found.verdict} (against {found.control}, {found.confidence:.0%} at all times at once)"
    yield ""
    yield f"{'arm':<28}{'share':>8}{'decisions':>11}{'value':>9}  interval"
    for arm in found.arms:
        value = "" if arm.value is None else f"{arm.value:.4f}"
        yield f"{arm.arm[:27]:<28}{arm.share:>8.1%}{arm.decisions:>11,}{value:>9}  {_bounds(arm.interval)}"
    for one in found.comparisons:
        yield f"{one.arm} less {found.control}: {one.value:+.4f}, {_bounds(one.interval)}: {one.verdict}"
    ratio = found.sample_ratio
    drawn = ", ".join(
        f"{arm} {ratio.observed[arm]:,} of {ratio.expected[arm]:,.0f}" for arm in ratio.expected
    )
    yield f"split: {'' if ratio.ok else 'NOT '}as it was set (p = {ratio.p_value:.3g}): {drawn}"
    for day in found.days[-_DAYS:]:
        bounds = f"{day.value:+.4f}, {_bounds(day.interval)}"
        yield f"{day.day} {day.arm}: {bounds} after {day.decisions:,} decisions"


def _bounds(interval: tuple[float, float]) -> str:
    return f"{interval[0]:+.4f} to {interval[1]:+.4f}"
