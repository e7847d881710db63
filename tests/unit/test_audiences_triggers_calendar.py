"""Dates and schedules in time zones: clock changes, leap days, downtime."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.triggers.calendar import Cron, Rrule, at_local
from audiences.triggers.calls import calls_of, causes_of_date
from audiences.triggers.dates import came, day_of
from audiences.triggers.definitions import OnDate, OnSchedule, ZonesSpec

BERLIN, NEW_YORK, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("UTC")
DAY = timedelta(days=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("line", "until", "moment"),
    [
        ("0 9 * * *", utc(2026, 3, 2, 8, 0), utc(2026, 3, 2, 8, 0)),
        ("0 9 * * *", utc(2026, 3, 2, 7, 59), utc(2026, 3, 1, 8, 0)),
        # 02:30 is skipped on 29 March 2026 and comes at the change; on 25 October it comes once.
        ("30 2 * * *", utc(2026, 3, 29, 12, 0), utc(2026, 3, 29, 1, 0)),
        ("30 2 * * *", utc(2026, 10, 25, 12, 0), utc(2026, 10, 25, 0, 30)),
        ("0 9 * * MON", utc(2026, 3, 8, 12, 0), utc(2026, 3, 2, 8, 0)),
    ],
)
def test_a_cron_line_calls_at_local_times(line: str, until: datetime, moment: datetime) -> None:
    assert Cron(line).last(until - 8 * DAY, until, BERLIN) == moment
    assert Cron(line).last(moment, until, BERLIN) is None


def test_an_rrule_calls_at_local_times() -> None:
    third_friday = Rrule("FREQ=MONTHLY;BYDAY=+3FR", datetime(2026, 1, 1, 9))  # noqa: DTZ001
    until = utc(2026, 4, 1)
    assert third_friday.last(utc(2026, 1, 1), until, BERLIN) == utc(2026, 3, 20, 8)
    assert third_friday.last(utc(2026, 3, 20, 8), until, BERLIN) is None
    assert third_friday.last(utc(2026, 3, 20, 8), until, NEW_YORK) == utc(2026, 3, 20, 13)
    daily = Rrule("FREQ=DAILY", datetime(2026, 3, 1, 2, 30))  # noqa: DTZ001
    assert daily.last(utc(2026, 3, 28, 12), utc(2026, 3, 29, 12), BERLIN) == utc(2026, 3, 29, 1, 30)


@given(
    start=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),  # noqa: DTZ001
    steps=st.lists(st.integers(1, 10_000), min_size=1, max_size=8),
    line=st.sampled_from(["*/17 * * * *", "30 2 * * *", "0 0 1 * *", "5 4 * * SUN"]),
)
def test_however_time_is_cut_into_steps_the_last_call_is_the_same(
    start: datetime, steps: list[int], line: str
) -> None:
    cron, after = Cron(line), start.replace(tzinfo=UTC)
    moment, last = after, None
    for minutes in steps:
        until = moment + timedelta(minutes=minutes)
        last = cron.last(moment, until, BERLIN) or last
        moment = until
    assert cron.last(after, moment, BERLIN) == last


def test_a_local_time_that_is_skipped_or_comes_twice() -> None:
    assert at_local(datetime(2026, 3, 29, 2, 30), BERLIN) == utc(2026, 3, 29, 1, 30)  # noqa: DTZ001
    assert at_local(datetime(2026, 10, 25, 2, 30), BERLIN) == utc(2026, 10, 25, 0, 30)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("1990-03-02", date(1990, 3, 2)),
        ("1990-03-02T00:00:00Z", date(1990, 3, 2)),
        ("1990-03-01T23:30:00Z", date(1990, 3, 2)),
        (utc(1990, 3, 2), date(1990, 3, 2)),
        ("soon", None),
        (7, None),
        (None, None),
    ],
)
def test_the_day_of_a_value(value: object, day: date | None) -> None:
    assert day_of(value, BERLIN) == day


def test_birthdays_come_every_year_also_those_of_29_february() -> None:
    birthday = OnDate(date="birthday", at="09:00")
    leap = date(2000, 2, 29)
    assert came(birthday, leap, BERLIN, utc(2026, 2, 27), utc(2026, 3, 1)) == (
        date(2026, 2, 28),
        utc(2026, 2, 28, 8),
    )
    assert came(birthday, leap, BERLIN, utc(2028, 2, 28, 12), utc(2028, 3, 1)) == (
        date(2028, 2, 29),
        utc(2028, 2, 29, 8),
    )
    assert came(birthday, leap, BERLIN, utc(2026, 3, 1), utc(2027, 2, 28, 7)) is None
    assert came(birthday, date(2030, 5, 1), BERLIN, utc(2026, 1, 1), utc(2027, 1, 1)) is None


def test_days_before_a_date_may_lie_in_the_year_before() -> None:
    renewal = OnDate(date="renewal", offset=-30 * DAY, at="08:00")
    found = came(renewal, date(2020, 1, 10), UTC_ZONE, utc(2026, 12, 1), utc(2026, 12, 31))
    assert found == (date(2027, 1, 10), utc(2026, 12, 11, 8))
    once = OnDate(date="renewal", every="once", offset=-30 * DAY, at="08:00")
    assert came(once, date(2020, 1, 10), UTC_ZONE, utc(2026, 12, 1), utc(2026, 12, 31)) is None


def test_dates_come_in_each_users_own_zone() -> None:
    on = OnDate(date="birthday", at="09:00")
    zones = ZonesSpec(feature="time_zone", fallback="Europe/Berlin")
    users = ["ann", "bob", "carl", "dora"]
    values = {
        "birthday": ["1990-03-02"] * 3 + [None],
        "time_zone": ["America/New_York", None, "Mars/Olympus", "Europe/Berlin"],
    }
    causes = causes_of_date(on, zones, users, values, utc(2026, 3, 2), utc(2026, 3, 2, 23))
    assert [(one.user_id, one.key, one.at) for one in causes] == [
        ("ann", "date:2026-03-02", utc(2026, 3, 2, 14)),
        ("bob", "date:2026-03-02", utc(2026, 3, 2, 8)),
        ("carl", "date:2026-03-02", utc(2026, 3, 2, 8)),
    ]


def test_what_was_missed_comes_once() -> None:
    on = OnSchedule(cron="0 9 * * *", zone="Europe/Berlin")
    causes = calls_of(on, ZonesSpec(), ["ann", "bob"], [], utc(2026, 3, 2, 12), utc(2026, 3, 9, 12))
    assert [(one.user_id, one.key) for one in causes] == [
        ("ann", "schedule:2026-03-09T09:00:00"),
        ("bob", "schedule:2026-03-09T09:00:00"),
    ]
