"""Windows as they lie on a user's clock: spans that slide, and days, weeks and months; pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from playbooks.constraints.documents import Calendar
from playbooks.offers.validity import first_instant

# A use at the very start of a calendar window counts, one at the start of a sliding one does not.
_RESOLUTION = timedelta(microseconds=1)
# At most; a zone may have a longer day when its clocks change.
_LONGEST = {"day": timedelta(days=2), "week": timedelta(days=8), "month": timedelta(days=32)}

Period = Calendar | Literal["all"]


def length(window: timedelta | Calendar, zone: ZoneInfo, now: datetime) -> timedelta:
    """Return the span up to now in which a window counts: used_at > now - span."""
    if isinstance(window, timedelta):
        return window
    return now - begins(window, zone, now) + _RESOLUTION


def longest(window: timedelta | Calendar) -> timedelta:
    """Return a span that a window never exceeds."""
    return window if isinstance(window, timedelta) else _LONGEST[window]


def begins(period: Calendar, zone: ZoneInfo, now: datetime) -> datetime:
    """Return the moment (UTC) at which the day, week or month began that it is in a zone."""
    return first_instant(_first_day(period, now.astimezone(zone).date()), zone).astimezone(UTC)


def name_of(period: Period, zone: ZoneInfo, now: datetime) -> str:
    """Return what the period is called that it is in a zone: 2026-03-02, 2026-W10, 2026-03 or all."""
    if period == "all":
        return period
    day = now.astimezone(zone).date()
    if period == "week":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02}"
    return day.isoformat() if period == "day" else f"{day:%Y-%m}"


def _first_day(period: Calendar, day: date) -> date:
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day
