"""The hour of the day at which a user is most active. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time
from zoneinfo import ZoneInfo

# Fewer say nothing about a habit.
FEWEST = 5
# What happens next to an hour speaks for it half as much as what happens in it.
_BESIDE = 0.5


def best_hour(moments: Iterable[datetime], zone: ZoneInfo) -> time | None:
    """Return the hour of a user's own day in and around which most happened, None of fewer than `FEWEST`.

    Of hours that are equal the earliest.

    >>> from datetime import UTC
    >>> evenings = [datetime(2026, 3, day, 18, 20, tzinfo=UTC) for day in range(1, 7)]
    >>> best_hour(evenings, ZoneInfo("Europe/Berlin"))
    datetime.time(19, 0)
    """
    counts = [0] * 24
    for moment in moments:
        counts[moment.astimezone(zone).hour] += 1
    if sum(counts) < FEWEST:
        return None
    weights = [counts[hour] + _BESIDE * (counts[hour - 1] + counts[(hour + 1) % 24]) for hour in range(24)]
    return time(weights.index(max(weights)))
