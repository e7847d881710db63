"""What points are worth: they fade by half-lives, and a line of points gives no more than its cap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from audiences.scores.definitions import Score


class Grant(msgspec.Struct, frozen=True):
    """Points that one event gave by one line of a score."""

    line: str
    event_id: str
    occurred_at: datetime
    points: float


def faded(points: float, age: timedelta, half_life: timedelta | None) -> float:
    """Return what points are worth at an age: points × 2^(−age / half_life); points that don't fade stay."""
    if half_life is None or age <= timedelta(0):
        return points
    return points * math.exp2(-age / half_life)


def worth(score: Score, grants: Iterable[Grant], now: datetime) -> dict[str, float]:
    """Return what each line of a score gives at a moment, for the grants of one user in any order.

    Grants count in the order in which they happened. After each one the line is cut to its cap, so what
    lay above the cap does not come back as the rest fades. Grants after `now` do not count.
    """
    caps = {
        line.spec.id: line.spec.cap
        for lines in score.by_event.values()
        for line in lines
        if line.spec.cap is not None
    }
    half_life = score.spec.half_life
    at: dict[str, datetime] = {}
    value: dict[str, float] = {}
    for grant in sorted(grants, key=lambda one: (one.occurred_at, one.event_id)):
        if grant.occurred_at > now:
            continue
        line = grant.line
        before = value.get(line, 0.0)
        if line in at:
            before = faded(before, grant.occurred_at - at[line], half_life)
        value[line] = _capped(before + grant.points, caps.get(line))
        at[line] = grant.occurred_at
    return {line: faded(total, now - at[line], half_life) for line, total in value.items()}


def crosses_at(
    fading: float, lasting: float, thresholds: Sequence[float], half_life: timedelta | None, now: datetime
) -> datetime | None:
    """Return when a score first passes one of its thresholds with nothing more happening; None if never.

    A score of `fading` + `lasting` at `now` is worth fading × 2^(−x / half_life) + lasting after x, so it
    moves towards `lasting` and passes a threshold θ after half_life × log2(fading / (θ − lasting)).
    Downwards the moment is the first at which the score is below θ.
    """
    if half_life is None or fading == 0:
        return None
    value = fading + lasting
    ahead = [
        threshold
        for threshold in thresholds
        if (lasting < threshold <= value if fading > 0 else value < threshold < lasting)
    ]
    if not ahead:
        return None
    nearest = max(ahead) if fading > 0 else min(ahead)
    after = half_life * math.log2(fading / (nearest - lasting))
    # Rounded up past the moment of equality, so that the answer is not the same at the moment itself.
    return now + after + timedelta(milliseconds=1)


def lines_of(score: Score) -> Mapping[str, float]:
    """Return the points of each line by its id."""
    return {one.id: one.points for one in score.spec.points}


def _capped(value: float, cap: float | None) -> float:
    if cap is None:
        return value
    return min(value, cap) if cap > 0 else max(value, cap)
