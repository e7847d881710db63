"""When windows open, on clocks that are put forward and back: pure.

A window is a condition on what the clock shows. That changes where a span begins or ends, at midnight, and
where the clock is changed; so the earliest moment at which a window is open is one of these, or now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from audiences.zones import EACH_USERS_OWN
from playbooks.windows.days_off import is_holiday
from playbooks.windows.hours import DAY, Span, minute_of
from playbooks.windows.spec import THE_USERS, Window

# A window that does not open for so long is taken to be closed for good.
LOOK_AHEAD = timedelta(days=400)

_CHUNK = timedelta(days=1)
# Clock changes lie further apart than this.
_STEP = timedelta(hours=1)
_FINEST = timedelta(seconds=1)


class Place(msgspec.Struct, frozen=True):
    """Where somebody lives: on which clock, under which holidays (`DE`, `DE-BY`; empty: none are known)."""

    zone: ZoneInfo
    country: str = ""


def opens(window: Window, place: Place, moment: datetime) -> bool:
    """Whether a window is open at a moment (aware)."""
    local = moment.astimezone(_zone(window, place))
    day, minute = local.date(), local.hour * 60 + local.minute
    if any(_covers(span, minute) for span in window.quiet_spans):
        return False
    codes = _codes(window, place)
    if any(is_holiday(day, code) for code in codes):
        return False
    return any(
        _covers(span, minute) and _begins_on(window, codes, _began(span, day, minute))
        for span in window.spans
    )


def next_open(window: Window, place: Place, after: datetime) -> datetime | None:
    """Return the earliest moment (aware UTC) from `after` on at which a window is open.

    None: it does not open within `LOOK_AHEAD`.
    """
    if opens(window, place, after):
        return after.astimezone(UTC)
    candidates = _candidates(_zone(window, place), _boundaries(window), after, after + LOOK_AHEAD)
    return next((moment for moment in candidates if opens(window, place, moment)), None)


def next_at(window: Window, place: Place, after: datetime) -> datetime | None:
    """Return the earliest moment (aware UTC) from `after` on at which it is `at` and the window is open.

    A time that the clock skips on a day does not come that day; of one that comes twice the first counts.
    """
    minute = minute_of(window.at or "")
    zone = _zone(window, place)
    for moment in _candidates(zone, (minute,), after, after + LOOK_AHEAD):
        local = moment.astimezone(zone)
        if (
            local.hour * 60 + local.minute == minute
            and not local.second
            and not local.microsecond
            and not local.fold
            and opens(window, place, moment)
        ):
            return moment
    return None


def _candidates(
    zone: ZoneInfo, minutes: Sequence[int], after: datetime, until: datetime
) -> Iterator[datetime]:
    """Yield, in order, the moments at which the clocks show one of these minutes, and of clock changes."""
    start = after.astimezone(UTC)
    while start < until:
        end = start + _CHUNK
        found = set(_changes(zone, start, end))
        day = start.astimezone(zone).date() - timedelta(days=1)
        last = end.astimezone(zone).date() + timedelta(days=1)
        while day <= last:
            for minute in minutes:
                found.update(_shown(day, minute, zone))
            day += timedelta(days=1)
        yield from sorted(moment for moment in found if start <= moment <= end)
        start = end


def _shown(day: date, minute: int, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield when a clock shows a minute of a day: once, twice where it was put back in between.

    Of a minute that was skipped moments near the change come, which are no harm as candidates.
    """
    local = datetime.combine(day, time(minute // 60, minute % 60), tzinfo=zone)
    for fold in (0, 1):
        yield local.replace(fold=fold).astimezone(UTC)


def _changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the moments in [start, end) at which the clock is put forward or back."""
    offset = start.astimezone(zone).utcoffset()
    while start < end:
        later = min(start + _STEP, end)
        after = later.astimezone(zone).utcoffset()
        if after != offset:
            yield _change(zone, start, later)
            offset = after
        start = later


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the first moment, to the second, at which a zone has the offset that it has at `after`."""
    before, offset = before.replace(microsecond=0), after.astimezone(zone).utcoffset()
    after += timedelta(microseconds=-after.microsecond % 1_000_000)
    while after - before > _FINEST:
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after


def _boundaries(window: Window) -> tuple[int, ...]:
    spans = (*window.spans, *window.quiet_spans)
    return tuple(sorted({0} | {minute % DAY for span in spans for minute in (span.start, span.end)}))


def _covers(span: Span, minute: int) -> bool:
    if span.over_midnight:
        return minute >= span.start or minute < span.end
    return span.start <= minute < span.end


def _began(span: Span, day: date, minute: int) -> date:
    """Return the day on which the span began that covers this minute of a day."""
    return day - timedelta(days=1) if span.over_midnight and minute < span.end else day


def _begins_on(window: Window, codes: Sequence[str], day: date) -> bool:
    return day.weekday() in window.weekdays and not any(is_holiday(day, code) for code in codes)


def _codes(window: Window, place: Place) -> Sequence[str]:
    if window.holidays is None:
        return ()
    if window.holidays == THE_USERS:
        return (place.country,) if place.country else ()
    return window.holidays


def _zone(window: Window, place: Place) -> ZoneInfo:
    return place.zone if window.zone == EACH_USERS_OWN else ZoneInfo(window.zone)
