"""When a user's date comes: birthdays, renewals, and so many days before them; pure."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from audiences.triggers.calendar import at_local
from audiences.triggers.definitions import OnDate

_FEBRUARY = 2


def day_of(value: Any, zone: ZoneInfo) -> date | None:
    """Return the day that a feature's value names: a moment is seen in the zone, text is ISO 8601.

    None where it names no day.
    """
    if isinstance(value, datetime):
        # Midnight UTC is how a day without a time is kept; in the zone it might be the day before.
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        utc = aware.astimezone(UTC)
        return (
            utc.date()
            if utc.timetz().replace(tzinfo=None) == datetime.min.time()
            else aware.astimezone(zone).date()
        )
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
        try:
            return day_of(datetime.fromisoformat(value), zone)
        except ValueError:
            return None
    return None


def came(
    on: OnDate, day: date, zone: ZoneInfo, after: datetime, until: datetime
) -> tuple[date, datetime] | None:
    """Return the latest occurrence, and its moment, with after < moment <= until; None if there is none.

    The moment is `at` local time on the occurrence moved by the offset's days; 29 February comes on the 28th
    in other years.
    """
    for occurrence in _occurrences(on, day, until.astimezone(zone).date()):
        moment = moment_of(on, occurrence, zone)
        if moment is not None and after < moment <= until:
            return occurrence, moment
    return None


def moment_of(on: OnDate, occurrence: date, zone: ZoneInfo) -> datetime | None:
    """Return the moment (aware UTC) at which a trigger comes for an occurrence of a date."""
    try:
        return at_local(datetime.combine(occurrence, on.at) + on.offset, zone)
    except OverflowError:
        return None


def _occurrences(on: OnDate, day: date, today: date) -> list[date]:
    """Return the occurrences that can be due around a day, the latest first."""
    if on.every == "once":
        return [day]
    year = (today - on.offset).year if abs(on.offset) < timedelta(days=366 * 100) else today.year
    return [_in_year(day, one) for one in (year + 1, year, year - 1) if day.year <= one <= date.max.year]


def _in_year(day: date, year: int) -> date:
    if day.month == _FEBRUARY and day.day == 29 and not calendar.isleap(year):
        return date(year, _FEBRUARY, 28)
    return day.replace(year=year)
