"""Until when a state waits: durations, times of the user's day, dates of the user's. Pure."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from audiences.triggers.calendar import at_local
from audiences.triggers.dates import day_of
from delivery.errors import FlowBroken
from delivery.people.hours import Known, after, hours_of
from delivery.view import View
from playbooks.flow import Task, UntilDate, Wait


def due(state: Task, name: str, moment: datetime, hours: Known) -> datetime:
    """Return when a task that is given at a moment is due.

    Raises:
        FlowBroken: that is beyond the calendar, or nobody has said when the assignee works.
    """
    if state.working_hours:
        return after(hours_of(hours, state.assignee), moment, state.due_in)
    return later(moment, state.due_in, name)


def until(state: Wait, name: str, moment: datetime, view: View) -> datetime | None:
    """Return when a state that is entered at a moment ends by itself; None: the date of it is none, or past.

    Raises:
        FlowBroken: that is beyond the calendar.
    """
    if state.duration is not None:
        return later(moment, state.duration, name)
    if state.until_date is not None:
        return _on_date(state.until_date, moment, view)
    if state.until_time is not None:
        return next_time(state.until_time, moment, view.zone)
    assert state.best_hour is not None  # noqa: S101 - a wait says one of the four
    return next_time(view.best_hour or state.best_hour.otherwise, moment, view.zone)


def next_time(of_day: time, after: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clocks of a zone next show a time of day, after a moment (aware UTC).

    A time that a clock change skips comes as much later as the clock was put forward; of one that comes
    twice the first counts.
    """
    day = after.astimezone(zone).date()
    for _ in range(3):
        moment = at_local(datetime.combine(day, of_day), zone)
        if moment > after:
            return moment
        day += timedelta(days=1)
    raise FlowBroken(f"no clock of {zone} shows {of_day} within three days of {after}")


def later(moment: datetime, span: timedelta, state: str) -> datetime:
    """Return a moment and a span. Raises FlowBroken."""
    try:
        return moment + span
    except OverflowError:
        raise FlowBroken(f"the span of state {state!r}, {span}, leads beyond the year 9999") from None


def _on_date(wait: UntilDate, moment: datetime, view: View) -> datetime | None:
    zone = view.zone
    day = day_of(view.values.get(wait.attribute), zone)
    if day is None:
        return None
    try:
        found = at_local(datetime.combine(day, wait.at) + wait.offset, zone)
    except OverflowError:
        return None
    return found if found > moment else None
