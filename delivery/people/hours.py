"""Working hours, and when something is due that may take so much of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from audiences.triggers.calendar import at_local
from delivery.errors import FlowBroken
from playbooks.windows.days_off import is_holiday

# Beyond so many days nobody plans; it also keeps hours of next to nothing from being walked through for ever.
_LONGEST_DAYS = 3 * 366


class Hours(msgspec.Struct, frozen=True):
    """On which days of the week (0 is Monday), and from when until when on the clock of a zone.

    Nobody works on public holidays of `country` (`DE`, `DE-BY`); '' where they work on all.
    """

    zone: ZoneInfo
    days: frozenset[int]
    opens: time
    closes: time
    country: str = ""

    def on(self, day: date) -> tuple[datetime, datetime] | None:
        """Return when work begins and ends on a day (aware UTC), None if nobody works on it."""
        if day.weekday() not in self.days or (self.country and is_holiday(day, self.country)):
            return None
        begin = at_local(datetime.combine(day, self.opens), self.zone)
        end = at_local(datetime.combine(day, self.closes), self.zone)
        return (begin, end) if begin < end else None


# Whose hours are known, by the id of a person or team; under "" those of everybody else.
Known = Mapping[str, Hours]


def after(hours: Hours, start: datetime, span: timedelta) -> datetime:
    """Return when so much working time has passed since a moment (aware UTC).

    Time that a clock change skips or repeats counts as long as it lasts.

    Raises:
        FlowBroken: not within three years.
    """
    day, left = start.astimezone(hours.zone).date(), span
    for _ in range(_LONGEST_DAYS):
        worked = hours.on(day)
        if worked is not None:
            begin, end = max(worked[0], start), worked[1]
            if begin < end:
                if left <= end - begin:
                    return begin + left
                left -= end - begin
        day += timedelta(days=1)
    raise FlowBroken(f"{span} of working hours are not over within three years of {start}")


def hours_of(known: Known, assignee: str) -> Hours:
    """Return the hours of a person or team.

    Raises:
        FlowBroken: nobody has said when they work.
    """
    found = known.get(assignee) or known.get("")
    if found is None:
        raise FlowBroken(f"nobody has said when {assignee or 'people'!r} works: write `hours` in people.yaml")
    return found
