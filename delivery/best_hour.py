"""The hour of the day at which a user is most active. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, time
from zoneinfo import ZoneInfo

from audiences.consent.models import Channel
from delivery.receipts.models import What
from delivery.receipts.states import event_name
from storage.ledger import Fact

# Fewer say nothing about a habit.
FEWEST = 5
# What happens next to an hour speaks for it half as much as what happens in it.
_BESIDE = 0.5

# Users open, follow and answer messages, which receipts and links make events of; what providers do with
# messages are events as well, and say when they were sent rather than when somebody was there.
_NOT_THEIRS = frozenset(
    event_name(way, what) for way in Channel for what in (What.DELIVERED, What.BOUNCED, What.FAILED)
)


def active(events: Iterable[Fact], since: datetime) -> Iterator[datetime]:
    """Yield when a user did something after a moment, by the facts of their events."""
    return (one.occurred_at for one in events if one.occurred_at > since and one.label not in _NOT_THEIRS)


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
