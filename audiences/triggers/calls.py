"""Whom dates and schedules concern between two moments; pure. What was missed meanwhile comes once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from audiences.triggers.dates import came, day_of
from audiences.triggers.definitions import OnDate, OnSchedule, ZonesSpec
from audiences.triggers.firing import Cause
from audiences.zones import EACH_USERS_OWN, zone_of


def causes_of_date(
    on: OnDate,
    zones: ZonesSpec,
    users: Sequence[str],
    values: Mapping[str, Sequence[Any]],
    after: datetime,
    until: datetime,
) -> list[Cause]:
    """Return the users whose date came with after < moment <= until; the cause is the day itself."""
    of_user = values[zones.feature] if zones.feature else [None] * len(users)
    causes = []
    for user, value, named in zip(users, values[on.date], of_user, strict=True):
        if value is None:
            continue
        zone = _zone(on.zone, zones, named)
        day = day_of(value, zone)
        found = came(on, day, zone, after, until) if day is not None else None
        if found is not None:
            occurrence, moment = found
            causes.append(Cause(user, f"date:{occurrence.isoformat()}", moment))
    return causes


def calls_of(
    on: OnSchedule,
    zones: ZonesSpec,
    users: Sequence[str],
    named: Sequence[Any],
    after: datetime,
    until: datetime,
) -> list[Cause]:
    """Return the users whom a schedule calls with after < moment <= until; the cause is the local time.

    Of several moments only the latest calls: what was missed while the service was down comes once.

    Args:
        named: the users' own zones in their order; may be empty.
    """
    moments: dict[ZoneInfo, datetime | None] = {}
    calendar = on.calendar
    causes = []
    for place, user in enumerate(users):
        zone = _zone(on.zone, zones, named[place] if named else None)
        if zone not in moments:
            moments[zone] = calendar.last(after, until, zone)
        moment = moments[zone]
        if moment is not None:
            local = moment.astimezone(zone).replace(tzinfo=None)
            causes.append(Cause(user, f"schedule:{local.isoformat()}", moment))
    return causes


def calls(on: OnSchedule, zones: ZonesSpec, after: datetime, until: datetime) -> bool:
    """Whether a schedule that does not ask for users' own zones calls with after < moment <= until."""
    return on.calendar.last(after, until, _zone(on.zone, zones, None)) is not None


def _zone(said: str, zones: ZonesSpec, named: Any) -> ZoneInfo:
    if said != EACH_USERS_OWN:
        return ZoneInfo(said)
    return zone_of(named, zones.fallback)
