"""Moments of cron lines and RRULEs in a time zone, daylight-saving days included; pure.

Cron lines are read by cronsim, which follows Debian's cron: a local time that a clock change skips comes at
the moment of the change, one that comes twice comes once. RRULEs (RFC 5545) are read by dateutil, as local
times: a skipped one comes as much later as the clock was put forward, of one that comes twice the first
counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from dateutil.rrule import rrule, rruleset, rrulestr

# A calendar with no moment for so long is taken to have none.
_LOOK_AHEAD = timedelta(days=366 * 9)
_ANY_DAY = datetime(2024, 1, 1)  # noqa: DTZ001 - a local time


class CalendarError(ValueError):
    """A line can't be read, or names no moment that ever comes."""


class Cron:
    """A cron line of five fields."""

    def __init__(self, line: str) -> None:
        """Raises CalendarError."""
        if len(line.split()) != 5:
            raise CalendarError(f"a cron line has five fields (minute hour day month weekday), not {line!r}")
        try:
            self._check(line)
        except CronSimError as error:
            raise CalendarError(f"{line!r} is no cron line: {error}") from error
        self._line = line

    def last(self, after: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the latest moment (aware UTC) with after < moment <= until, or None."""
        backwards = CronSim(self._line, until.astimezone(zone) + timedelta(microseconds=1), reverse=True)
        for local in _up_to(backwards):
            moment = local.astimezone(UTC)
            if moment <= until:
                return moment if moment > after else None
        return None

    def _check(self, line: str) -> None:
        try:
            next(CronSim(line, _ANY_DAY))
        except StopIteration as error:
            raise CalendarError(f"the cron line {line!r} names no day that ever comes") from error


class Rrule:
    """An RRULE of RFC 5545 from a local start."""

    def __init__(self, text: str, start: datetime) -> None:
        """Raises CalendarError."""
        try:
            self._rule: rrule | rruleset = rrulestr(text, dtstart=start)
            first = self._rule.after(start - timedelta(microseconds=1))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise CalendarError(f"{text!r} is no RRULE: {error}") from error
        if first is None or first > start + _LOOK_AHEAD:
            raise CalendarError(f"the RRULE {text!r} from {start.isoformat()} names no day that ever comes")

    def last(self, after: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the latest moment (aware UTC) with after < moment <= until, or None."""
        # A day more on either side, for local times are compared first.
        local = self._rule.before(until.astimezone(zone).replace(tzinfo=None) + timedelta(days=1), inc=True)
        while local is not None:
            moment = at_local(local, zone)
            if moment <= until:
                return moment if moment > after else None
            local = self._rule.before(local)
        return None


def at_local(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment (aware UTC) of a naive local time; of one that comes twice the first.

    A local time that the clock skips is moved on by as much as the clock was put forward.
    """
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _up_to(simulated: CronSim) -> Iterator[datetime]:
    try:
        yield from simulated
    except CronSimError:
        # It has looked back fifty years.
        return
