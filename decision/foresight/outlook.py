"""When a playbook begins: what its trigger waits for, and the next moments that are known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from audiences.triggers.calendar import Cron, Rrule
from audiences.triggers.definitions import (
    OnAudience,
    OnDate,
    OnEvent,
    OnGrade,
    OnSchedule,
    OnStage,
    Triggers,
    TriggerSpec,
)
from audiences.zones import EACH_USERS_OWN
from playbooks.models import Playbook
from playbooks.rehearsal.report import When

_SHOWN = 3
# Schedules are looked through so far ahead for their next moments: a month, then a year.
_AHEAD = (timedelta(days=31), timedelta(days=366))
_INSTANT = timedelta(microseconds=1)


def when_of(playbook: Playbook, triggers: Triggers, now: datetime) -> When:
    """Return what begins a playbook, and the next moments where they are the same for everybody."""
    if playbook.trigger is None:
        return When(None, f"whenever a decision is asked for at {playbook.placement}")
    spec = next((one.spec for one in triggers.triggers if one.spec.id == playbook.trigger), None)
    if spec is None:
        return When(playbook.trigger, "never: there is no trigger of that id in triggers.yaml")
    return When(spec.id, _said(spec), _next(spec, triggers, now))


def moments(calendar: Cron | Rrule, after: datetime, until: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the moments (aware UTC) of a calendar in a zone with after < moment <= until, in their order."""
    return list(_backwards(calendar, after, until, zone))[::-1]


def _backwards(
    calendar: Cron | Rrule, after: datetime, until: datetime, zone: ZoneInfo
) -> Iterator[datetime]:
    while (moment := calendar.last(after, until, zone)) is not None:
        yield moment
        until = moment - _INSTANT


def _next(spec: TriggerSpec, triggers: Triggers, now: datetime) -> list[datetime]:
    on = spec.when
    if not isinstance(on, OnSchedule):
        return []
    zone = ZoneInfo(triggers.zones.fallback if on.zone == EACH_USERS_OWN else on.zone)
    calendar = on.calendar
    for ahead in _AHEAD:
        found = moments(calendar, now, now + ahead, zone)
        if found:
            return found[:_SHOWN]
    return []


def _said(spec: TriggerSpec) -> str:
    on = spec.when
    match on:
        case OnEvent():
            said = _said_event(on)
        case OnAudience():
            said = f"when a user enters {on.entered}" if on.entered else f"when a user leaves {on.left}"
        case OnGrade():
            said = f"when a user's grade in {on.score} becomes {on.grade}"
        case OnStage():
            said = f"when a user comes to {on.stage} of {on.lifecycle}"
        case OnDate():
            said = _said_date(on)
        case OnSchedule():
            own = "in each user's zone" if on.zone == EACH_USERS_OWN else on.zone
            said = f"by {'cron' if on.cron else 'RRULE'} {on.cron or on.rrule} ({own})"
        case _:
            said = "when somebody fires it by hand"
    return said


def _said_event(on: OnEvent) -> str:
    said = f"when a user's {on.event} comes"
    if on.count > 1:
        said = f"when {on.event} came {on.count} times within {on.within}"
    if on.unless is not None:
        said += f" and no {on.unless.event} follows within {on.unless.after}"
    return said + (f", where {on.where}" if on.where else "")


def _said_date(on: OnDate) -> str:
    days = f", {on.offset} after it" if on.offset > timedelta(0) else ""
    days = f", {-on.offset} before it" if on.offset < timedelta(0) else days
    yearly = "each year at" if on.every == "year" else "once at"
    return f"{yearly} {on.at:%H:%M} of each user's {on.date}{days}"
