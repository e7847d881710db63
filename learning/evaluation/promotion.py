"""Whether a candidate may replace the policy in charge: on proof, and with every guard kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from learning.evaluation.diagnostics import Diagnostics
from learning.evaluation.difference import paired
from learning.evaluation.log import Log, reward_range
from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.verdict import Word


class Guard(msgspec.Struct, frozen=True):
    """One guard metric, of which more is worse: how much the candidate adds, and how much it may.

    `high` is the anytime-valid upper bound of what it adds per decision; the guard is kept when that lies
    below `margin`.
    """

    name: str
    value: float
    high: float
    margin: float
    kept: bool


class Promotion(msgspec.Struct, frozen=True):
    """Whether to promote, and why not. `low` is the lower bound of what the candidate adds per decision."""

    promote: bool
    value: float
    low: float
    guards: list[Guard]
    reasons: list[str]


def promotion(
    log: Log,
    found: Diagnostics,
    verdict: str,
    one: Weighed,
    other: Weighed,
    margins: Mapping[str, float],
    confidence: float,
) -> Promotion:
    """Return whether the candidate `one` may replace `other`.

    It may when the lower bound of the paired difference lies above 0 at all times at once, every guard's
    upper bound below its margin, and nothing speaks against the log: support, propensities, rows left out.

    Args:
        margins: by guard metric of the log, how much worse per decision is not to be ruled out.
    """
    reasons = []
    if verdict.startswith(Word.NOT_EVALUABLE.value):
        reasons.append(verdict)
    if log.refused:
        reasons.append(f"{len(log.refused)} rows of the log are wrong and were left out: {log.refused[0]}")
    if not log.declared and (log.low, log.high) != (0.0, 1.0):
        reasons.append("nobody said how large a reward can be, so the bound proves nothing (--rewards)")
    reasons += [f"the log has no guard metric {name!r}" for name in margins if name not in log.guards]
    bounds = paired(one, other, confidence)
    if bounds.low <= 0:
        reasons.append(
            f"the gain is not proven: the difference is {bounds.value:+.4f} and may be as low as "
            f"{bounds.low:+.4f}"
        )
    guards = [
        _guard(name, log.guards[name], margins[name], one, other, confidence)
        for name in margins
        if name in log.guards
    ]
    reasons += [
        f"the guard {guard.name} is not kept: it may be worse by {guard.high:.4f} a decision, more than "
        f"{guard.margin:g}"
        for guard in guards
        if not guard.kept
    ]
    return Promotion(not reasons, bounds.value, bounds.low, guards, reasons)


def _guard(
    name: str, values: FloatArray, margin: float, one: Weighed, other: Weighed, confidence: float
) -> Guard:
    low, high = reward_range(values)
    seen, others = (
        Weighed(values, each.weights, low=low, high=high, largest=each.bound, owners=each.owners)
        for each in (one, other)
    )
    bounds = paired(seen, others, confidence)
    return Guard(name, bounds.value, bounds.high, margin, bool(np.less(bounds.high, margin)))
