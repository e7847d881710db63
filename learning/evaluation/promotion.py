"""Whether a candidate may replace the policy in charge: on proof, and with every guard kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from learning.evaluation.diagnostics import Diagnostics
from learning.evaluation.difference import paired
from learning.evaluation.log import UNDECLARED, Log, reward_range
from learning.evaluation.rounds import Weighed
from learning.evaluation.verdict import Word
from playbooks.money import rate


class Guard(msgspec.Struct, frozen=True):
    """One guard metric, of which more is worse: how much the candidate adds, and how much it may.

    What it adds per decision lies in [`low`, `high`] at all times at once; the guard is kept when `high` is
    below `margin`. A guard of money is in minor units of the currency `unit`, which is empty for numbers.
    """

    name: str
    value: float
    low: float
    high: float
    margin: float
    kept: bool
    unit: str = ""


class Promotion(msgspec.Struct, frozen=True):
    """Whether to promote, and why not. What the candidate adds per decision lies in [`low`, `high`]."""

    promote: bool
    value: float
    low: float
    high: float
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
    *,
    learning: bool = False,
) -> Promotion:
    """Return whether the candidate `one` may replace `other`.

    It may when the lower bound of the paired difference lies above 0 at all times at once, every guard's
    upper bound below its margin, and nothing speaks against the log: support, propensities, rows left out.

    Args:
        margins: by guard metric of the log, how much worse per decision is not to be ruled out.
        confidence: of each bound by itself: a wrong promotion needs a wrong lower one.
        learning: the policies learned while the log was drawn.
    """
    # Of an interval both ends share the error.
    confidence = 1 - 2 * (1 - confidence)
    reasons = []
    if verdict.startswith(Word.NOT_EVALUABLE.value):
        reasons.append(verdict)
    if log.refused:
        reasons.append(f"{len(log.refused)} rows of the log are wrong and were left out: {log.refused[0]}")
    if not log.declared and (log.low, log.high) != (0.0, 1.0):
        reasons.append(f"{UNDECLARED}, so the bound proves nothing (--rewards)")
    reasons += [f"the log has no guard metric {name!r}" for name in margins if name not in log.guards]
    bounds = paired(one, other, confidence, learning=learning)
    if bounds.low <= 0:
        reasons.append(
            f"the gain is not proven: the difference is {bounds.value:+.4f} and may be as low as "
            f"{bounds.low:+.4f}"
        )
    guards = [
        _guard(log, name, margins[name], one, other, confidence) for name in margins if name in log.guards
    ]
    reasons += [
        f"the guard {guard.name} is not kept: it may be worse by {rate(guard.high, guard.unit)} a decision, "
        f"more than {rate(guard.margin, guard.unit)}"
        for guard in guards
        if not guard.kept
    ]
    return Promotion(not reasons, bounds.value, bounds.low, bounds.high, guards, reasons)


def _guard(log: Log, name: str, margin: float, one: Weighed, other: Weighed, confidence: float) -> Guard:
    values = log.guards[name]
    low, high = log.guard_bounds.get(name) or reward_range(values)
    unit = log.guard_units.get(name, "")
    if not low < high:
        return Guard(name, 0.0, 0.0, 0.0, margin, kept=True, unit=unit)
    seen, others = (replace(each, rewards=values, low=low, high=high) for each in (one, other))
    bounds = paired(seen, others, confidence)
    return Guard(name, bounds.value, bounds.low, bounds.high, margin, bounds.high < margin, unit)
