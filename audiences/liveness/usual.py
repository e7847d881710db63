"""What a feed usually does at an hour of the week, and how surprising it is when it does not. Pure.

The usual number at an hour is the interquartile mean of the same hour in the weeks before (a mean without
the lowest and the highest quarter, so that neither last month's outage nor last month's campaign counts), or
of the same hour of the day while there are fewer than three weeks. Around it numbers scatter as a negative
binomial with mean m and size r, whose variance is m + m²/r; r is found by the method of moments over all
hours,

    r = Σ m² / Σ ((x − m)² − m)      (Bliss and Fisher 1953, Biometrics 9, section 3)

without the twentieth of the hours that differ most. As r grows this becomes Poisson's distribution, which is
what a feed of independent events has.

**Silence** is told from the minutes in which something came, not from the events: a thousand events of one
batch are one sign of life. That there was none is as probable as

    P(0) = Π (1 + m_h f_h / r)^(−r)

over the hours h since the last one, of which the share f_h has passed. Below `ALARM` it is no accident: 16
usual minutes without a sign, so some 16 minutes for a feed that sends all the time, and as many hours for one
that sends once an hour. A feed that sends for a part of every hour never waits for more than 15 usual
minutes, and raises nothing.

**A jump** is told from the events: a number of this hour or the last that comes by chance with less than
`ALARM`, and is at least `MANY` and `TIMES` the usual.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

HOUR = timedelta(hours=1)
WEEK_HOURS = 168
WEEKS = 8
ALARM = 1e-7
MANY = 50
TIMES = 3.0

_DAY_HOURS = 24
_ENOUGH = 3
_OUTLIERS = 0.05
_SMALLEST_SIZE, _LARGEST_SIZE = 0.5, 1e6
# What an hour without any history of events is taken to have, so that the first one is no surprise.
_LEAST = 0.5

Floats = NDArray[np.float64]


class Usual(NamedTuple):
    """`means` of the 168 hours that begin with `start`, one after the other, again and again; and the size.

    A mean is NaN where there is too little history to tell.
    """

    start: datetime
    means: Floats
    size: float

    def mean(self, hour: datetime) -> float:
        """The usual number of the hour that begins then."""
        return float(self.means[((hour - self.start) // HOUR) % WEEK_HOURS])


def usual(counts: Mapping[datetime, int], hour: datetime) -> Usual:
    """Return what is usual from `hour` on.

    Args:
        counts: numbers by the beginning of each hour; hours that are missing after the first had none.
        hour: the beginning of an hour; only what came before it counts.
    """
    first = min((one for one in counts if one < hour), default=hour)
    start = hour - WEEKS * WEEK_HOURS * HOUR
    known = np.full(WEEKS * WEEK_HOURS, np.nan)
    known[max(0, (first - start) // HOUR) :] = 0.0
    for one, number in counts.items():
        if start <= one < hour:
            known[(one - start) // HOUR] = number
    weeks = known.reshape(WEEKS, WEEK_HOURS)
    means = np.array([_middle(weeks[:, column]) for column in range(WEEK_HOURS)])
    by_day = weeks.reshape(-1, _DAY_HOURS)
    of_day = np.array([_middle(by_day[:, column]) for column in range(_DAY_HOURS)])
    means = np.where(np.isnan(means), np.tile(of_day, WEEK_HOURS // _DAY_HOURS), means)
    return Usual(hour, means, _size(weeks, means))


def silence(usual_minutes: Usual, since: datetime, now: datetime) -> tuple[float, float]:
    """Return how probable it is that nothing came in [since, now), and in how many minutes it usually does.

    The probability is 1 where there is too little history.
    """
    logarithm, expected = 0.0, 0.0
    hour = since.replace(minute=0, second=0, microsecond=0)
    while hour < now:
        share = (min(hour + HOUR, now) - max(hour, since)) / HOUR
        mean = usual_minutes.mean(hour) * share
        if math.isnan(mean):
            return 1.0, 0.0
        expected += mean
        logarithm -= usual_minutes.size * math.log1p(mean / usual_minutes.size)
        hour += HOUR
    return math.exp(logarithm), expected


def is_jump(usual_events: Usual, hour: datetime, number: int, share: float) -> bool:
    """Whether so many events in a share (0 to 1) of an hour are far more than usual."""
    mean = usual_events.mean(hour) * share
    if math.isnan(mean) or number < MANY or number < TIMES * mean:
        return False
    mean, size = max(mean, _LEAST), usual_events.size
    # What is left above `number - 1` of a negative binomial of this size and mean.
    return float(betainc(number, size, mean / (size + mean))) < ALARM


def _middle(values: Floats) -> float:
    """Return the interquartile mean of those that are known, NaN where they are too few."""
    known = np.sort(values[~np.isnan(values)])
    if len(known) < _ENOUGH:
        return float("nan")
    cut = len(known) // 4
    return float(np.mean(known[cut : len(known) - cut]))


def _size(weeks: Floats, means: Floats) -> float:
    expected = np.broadcast_to(means, weeks.shape)
    known = ~np.isnan(weeks) & ~np.isnan(expected)
    mean, off = expected[known], (weeks[known] - expected[known]) ** 2
    if not len(mean):
        return _LARGEST_SIZE
    # Relative to what Poisson's distribution allows, so that busy hours are not the only ones left out.
    usual_ones = np.argsort(off / np.maximum(mean, 1.0))[: math.ceil(len(mean) * (1 - _OUTLIERS))]
    beyond = float(np.sum(off[usual_ones] - mean[usual_ones]))
    squares = float(np.sum(mean[usual_ones] ** 2))
    if beyond <= 0 or squares <= 0:
        return _LARGEST_SIZE
    return min(max(squares / beyond, _SMALLEST_SIZE), _LARGEST_SIZE)
