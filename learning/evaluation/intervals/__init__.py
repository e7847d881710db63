"""Intervals for a policy's value, behind one signature. Pure.

`normal`, `bootstrap` and `likelihood` follow the estimator whose terms they get. `empirical_bernstein`,
`empirical_likelihood`, `betting` and `confidence_sequence` rest on bounds of the rewards and weights and
promise their coverage for any number of rounds (the empirical likelihood nearly so); the confidence sequence
holds at all times at once, so one may look after every round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from audiences.rules.source import closest
from learning.errors import UnknownEstimator
from learning.evaluation.intervals.bernstein import empirical_bernstein
from learning.evaluation.intervals.betting import betting
from learning.evaluation.intervals.empirical_likelihood import empirical_likelihood
from learning.evaluation.intervals.likelihood import likelihood
from learning.evaluation.intervals.normal import normal
from learning.evaluation.intervals.sequence import confidence_sequence
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms

__all__ = ["BOOTSTRAP", "CLOSED", "INTERVALS", "Closed", "chosen"]

Closed = Callable[[Terms, Weighed, float], tuple[float, float] | None]

# Made for all estimators at once, because they share the resamples.
BOOTSTRAP = "bootstrap"
CLOSED: Mapping[str, Closed] = {
    "normal": normal,
    "likelihood": likelihood,
    "empirical_bernstein": empirical_bernstein,
    "empirical_likelihood": empirical_likelihood,
    "betting": betting,
    "confidence_sequence": confidence_sequence,
}
INTERVALS: Sequence[str] = ("normal", BOOTSTRAP, *list(CLOSED)[1:])


def chosen(names: Sequence[str]) -> list[str]:
    """Return these names, each once; `all` names every interval.

    Raises:
        UnknownEstimator: there is no interval of this name.
    """
    asked = [name.strip() for name in names]
    for name in asked:
        if name != "all" and name not in INTERVALS:
            raise UnknownEstimator(
                f"there is no interval {name!r}; {closest(name, list(INTERVALS)) or ''} there are "
                f"{', '.join(INTERVALS)}, or all"
            )
    return [name for name in INTERVALS if name in asked or "all" in asked]
