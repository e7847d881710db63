"""Until when a coupon is good, on the clocks of the user's own zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from playbooks.offers import NEVER, Validity, ends

# Zones that change their clocks at midnight, in both directions, by half an hour, or across the date line.
ZONES = [
    "Europe/Berlin",
    "America/Havana",
    "America/Sao_Paulo",
    "America/Asuncion",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "UTC",
]
moments = st.timedeltas(timedelta(0), timedelta(days=32 * 365)).map(
    lambda since: datetime(2005, 1, 1, tzinfo=UTC) + since
)
zones = st.sampled_from(ZONES).map(ZoneInfo)
MICROSECOND = timedelta(microseconds=1)


def end_of_day(days: int = 0) -> Validity:
    return Validity(end_of_day=days)


@given(moments, zones, st.integers(0, 40))
def test_a_day_ends_at_the_first_instant_of_the_next(at: datetime, zone: ZoneInfo, days: int) -> None:
    end = ends(end_of_day(days), at, zone)
    assert end.tzinfo is UTC
    assert end > at
    last = at.astimezone(zone).date() + timedelta(days=days)
    assert end.astimezone(zone).date() > last
    before = (end - MICROSECOND).astimezone(zone).date()
    # A day that a zone skipped altogether ends where the one before it did.
    assert before == last or (str(zone) == "Pacific/Apia" and last == date(2011, 12, 30))


@given(moments, zones, st.timedeltas(MICROSECOND, timedelta(days=400)))
def test_a_duration_is_the_same_everywhere(at: datetime, zone: ZoneInfo, lasting: timedelta) -> None:
    assert ends(Validity(for_=lasting), at, zone) - at == lasting


@pytest.mark.parametrize(
    ("zone", "at", "end"),
    [
        ("Europe/Berlin", "2026-03-28T23:30:00+00:00", "2026-03-29T22:00:00+00:00"),  # 23 hours
        ("Europe/Berlin", "2026-10-24T22:30:00+00:00", "2026-10-25T23:00:00+00:00"),  # 25 hours
        ("America/New_York", "2026-03-02T03:00:00+00:00", "2026-03-02T05:00:00+00:00"),
        ("Asia/Beirut", "2024-03-30T12:00:00+00:00", "2024-03-30T22:00:00+00:00"),  # no midnight
        ("Asia/Beirut", "2024-10-26T12:00:00+00:00", "2024-10-26T22:00:00+00:00"),  # 23:00 comes twice
        ("America/Havana", "2024-11-02T12:00:00+00:00", "2024-11-03T04:00:00+00:00"),  # two midnights
        ("Pacific/Apia", "2011-12-29T20:00:00+00:00", "2011-12-30T10:00:00+00:00"),  # no 30th at all
        ("UTC", "2026-03-02T00:00:00+00:00", "2026-03-03T00:00:00+00:00"),
    ],
)
def test_days_of_changing_clocks(zone: str, at: str, end: str) -> None:
    assert ends(end_of_day(), datetime.fromisoformat(at), ZoneInfo(zone)) == datetime.fromisoformat(end)


def test_a_fixed_end_is_the_same_for_all_and_may_be_over() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    fixed = Validity.model_validate({"until": "2026-03-02T02:00:00+01:00"})
    assert ends(fixed, at, ZoneInfo("Asia/Kathmandu")) == datetime(2026, 3, 2, 1, tzinfo=UTC)
    assert not fixed.over(at)
    assert fixed.over(datetime(2026, 3, 2, 1, tzinfo=UTC))
    assert not end_of_day().over(NEVER)


def test_what_leads_beyond_the_calendar_never_ends() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    assert ends(Validity(for_=timedelta(days=999_999_999)), at, UTC) == NEVER
    assert ends(end_of_day(), NEVER, ZoneInfo("Pacific/Kiritimati")) == NEVER


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({}, "just one of for, until, end_of_day is to be given, not none of them"),
        ({"for": "P1D", "end_of_day": 0}, "not for and end_of_day"),
        ({"for": "-P1D"}, "good for a while"),
        ({"for": "P0D"}, "good for a while"),
        ({"until": "2026-03-02T02:00:00"}, "timezone"),
        ({"end_of_day": -1}, "greater than or equal to 0"),
        ({"end_of_day": 1000}, "less than or equal to 366"),
        ({"days": 3}, "Extra inputs"),
    ],
)
def test_what_is_wrong_with_a_validity(written: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Validity.model_validate(written)
