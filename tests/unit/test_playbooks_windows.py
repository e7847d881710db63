"""Send windows: never outside, always the earliest moment, on every clock; and cases worked out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from playbooks.windows import Hold, Place, Skip, Window, Windows, next_open, opens, rule_of
from playbooks.windows.days_off import is_holiday
from playbooks.windows.moments import next_at
from playbooks.windows.ruling import ruling

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
# Clocks that change by half an hour, at midnight, never, and one that left out a whole day.
ZONES = (
    BERLIN,
    NEW_YORK,
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "UTC",
)
MINUTE = timedelta(minutes=1)


def window(**said: Any) -> Window:
    return Window.model_validate({"id": "w", **said})


def local(text: str, zone: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def open_by_definition(one: Window, zone: str, moment: datetime, country: str = "") -> bool:
    """What the page says of windows, worked out with naive times: no candidates, no spans of minutes."""
    wall = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    codes = [country] if one.holidays == "user" else list(one.holidays or [])

    def within(spans: list[str], *, on_days: bool) -> bool:
        for day in (wall.date() - timedelta(days=1), wall.date()):
            if on_days and (
                day.strftime("%a").lower() not in one.days or any(is_holiday(day, code) for code in codes)
            ):
                continue
            for text in spans:
                first, last = text.split("-")
                midnight = datetime.combine(day, time())
                start = midnight + timedelta(hours=int(first[:2]), minutes=int(first[3:]))
                end = midnight + timedelta(hours=int(last[:2]), minutes=int(last[3:]))
                if start <= wall < (end if end > start else end + timedelta(days=1)):
                    return True
        return False

    if any(is_holiday(wall.date(), code) for code in codes):
        return False
    return within(one.hours or ["00:00-24:00"], on_days=True) and not within(one.quiet, on_days=False)


times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
spans = st.lists(
    st.tuples(times, times).filter(lambda pair: pair[0] != pair[1]).map("-".join), min_size=0, max_size=3
)
days = st.lists(
    st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1, max_size=7, unique=True
)
# Around the changes of clocks of 2011 (Apia), 2018 (Sao Paulo) and 2026, and anywhere.
_SPANS = (
    ("2026-03-27", "2026-04-06"),
    ("2026-10-23", "2026-11-03"),
    ("2011-12-28", "2012-01-02"),
    ("2018-02-16", "2018-02-19"),
    ("2024-02-27", "2024-03-02"),
    ("2020-01-01", "2030-01-01"),
)
moments = st.one_of(
    [st.datetimes(datetime.fromisoformat(first), datetime.fromisoformat(last)) for first, last in _SPANS]
).map(lambda naive: naive.replace(tzinfo=UTC))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    said = {"hours": draw(spans), "quiet": draw(spans), "days": draw(days)}
    if draw(st.booleans()):
        said["holidays"] = ["DE", "US"]
    try:
        return window(**said)
    except ValidationError:
        # It never opens, which is refused.
        return window(hours=said["hours"], days=said["days"])


@given(windows(), st.sampled_from(ZONES), moments)
@settings(max_examples=150, deadline=None)
def test_a_window_is_open_when_the_definition_says_so(one: Window, zone: str, moment: datetime) -> None:
    assert opens(one, Place(ZoneInfo(zone)), moment) == open_by_definition(one, zone, moment)


@given(windows(), st.sampled_from(ZONES), moments)
@settings(max_examples=40, deadline=None)
def test_the_next_opening_is_the_earliest_moment_that_is_inside(
    one: Window, zone: str, after: datetime
) -> None:
    found = next_open(one, Place(ZoneInfo(zone)), after)
    assert found is not None
    assert found >= after
    assert open_by_definition(one, zone, found)
    # Every whole minute before it is outside; only the last three days are walked through.
    step = max(after, found - timedelta(days=3)).replace(second=0, microsecond=0) + MINUTE
    assert after == found or not open_by_definition(one, zone, after)
    while step < found:
        assert not open_by_definition(one, zone, step)
        step += MINUTE


@given(windows(), windows(), st.sampled_from(ZONES), moments)
@settings(max_examples=20, deadline=None)
def test_a_message_bound_by_two_windows_goes_out_only_inside_of_both(
    one: Window, other: Window, zone: str, now: datetime
) -> None:
    place = Place(ZoneInfo(zone))
    both = (one, other.model_copy(update={"id": "v"}))
    inside = all(open_by_definition(each, zone, now) for each in both)
    found = ruling(both, place, now)
    assert (found is None) == inside
    if isinstance(found, Hold):
        assert found.until > now
        assert ruling(both, place, found.until) is None
        step = max(now, found.until - timedelta(days=2)).replace(second=0, microsecond=0) + MINUTE
        while step < found.until:
            assert ruling(both, place, step) is not None
            step += 7 * MINUTE
    elif isinstance(found, Skip):
        assert not _meet(both, zone, now)


def _meet(both: tuple[Window, ...], zone: str, now: datetime) -> bool:
    """Whether two windows are open together within two weeks, by the quarter of an hour."""
    steps = (now + 15 * MINUTE * step for step in range(14 * 96))
    return any(all(open_by_definition(one, zone, step) for one in both) for step in steps)


@pytest.mark.parametrize(
    ("said", "zone", "now", "goes_out"),
    [
        # By day, in the evening, to the minute.
        ({"hours": ["09:00-20:00"]}, BERLIN, "2026-03-02T08:59:59", "2026-03-02T09:00:00"),
        ({"hours": ["09:00-20:00"]}, BERLIN, "2026-03-02T09:00:00", "2026-03-02T09:00:00"),
        ({"hours": ["09:00-20:00"]}, BERLIN, "2026-03-02T19:59:59", "2026-03-02T19:59:59"),
        ({"hours": ["09:00-20:00"]}, BERLIN, "2026-03-02T20:00:00", "2026-03-03T09:00:00"),
        ({"quiet": ["21:00-08:00"]}, BERLIN, "2026-03-02T21:00:00", "2026-03-03T08:00:00"),
        ({"quiet": ["21:00-08:00"]}, BERLIN, "2026-03-02T03:00:00", "2026-03-02T08:00:00"),
        ({"hours": ["09:00-12:00", "14:00-18:00"]}, BERLIN, "2026-03-02T12:00:00", "2026-03-02T14:00:00"),
        # Friday evening, for a window of working days.
        ({"days": ["mon", "tue", "wed", "thu", "fri"]}, BERLIN, "2026-03-07T00:00:00", "2026-03-09T00:00:00"),
        # Over midnight: a Friday's span goes on into Saturday, and none begins on Saturday.
        ({"hours": ["22:00-02:00"], "days": ["fri"]}, BERLIN, "2026-03-07T01:59:00", "2026-03-07T01:59:00"),
        ({"hours": ["22:00-02:00"], "days": ["fri"]}, BERLIN, "2026-03-07T02:00:00", "2026-03-13T22:00:00"),
        ({"hours": ["22:00-02:00"], "days": ["fri"]}, BERLIN, "2026-03-06T01:00:00", "2026-03-06T22:00:00"),
        # The clock is put forward from 02:00 to 03:00: what begins in between begins with the change.
        ({"hours": ["02:30-05:00"]}, BERLIN, "2026-03-29T01:00:00", "2026-03-29T03:00:00"),
        ({"hours": ["02:00-02:45"]}, BERLIN, "2026-03-29T01:30:00", "2026-03-30T02:00:00"),
        ({"quiet": ["21:00-08:00"]}, BERLIN, "2026-03-28T23:00:00", "2026-03-29T08:00:00"),
        ({"hours": ["02:30-05:00"]}, NEW_YORK, "2026-03-08T00:00:00", "2026-03-08T03:00:00"),
        # It is put back from 03:00 to 02:00: the first 02:30 counts.
        ({"hours": ["02:30-05:00"]}, BERLIN, "2026-10-25T01:00:00", "2026-10-25T02:30:00"),
        # A leap day is a day, and the day after it is the first of March.
        ({"days": ["thu"]}, BERLIN, "2024-02-28T12:00:00", "2024-02-29T00:00:00"),
        ({"hours": ["09:00-10:00"]}, BERLIN, "2024-02-29T10:00:00", "2024-03-01T09:00:00"),
        # New Year, Good Friday with Easter Monday, and the same days where they are none.
        ({"holidays": ["DE"]}, BERLIN, "2026-01-01T09:00:00", "2026-01-02T00:00:00"),
        ({"holidays": ["DE"], "days": ["mon", "fri"]}, BERLIN, "2026-04-03T09:00:00", "2026-04-10T00:00:00"),
        ({"holidays": ["US"]}, BERLIN, "2026-04-03T09:00:00", "2026-04-03T09:00:00"),
        # Corpus Christi is one of Bavaria, not of Berlin.
        ({"holidays": ["DE-BY"]}, BERLIN, "2026-06-04T09:00:00", "2026-06-05T00:00:00"),
        ({"holidays": ["DE-BE"]}, BERLIN, "2026-06-04T09:00:00", "2026-06-04T09:00:00"),
        # What begins in the night of a holiday, or would reach into one, is closed.
        (
            {"hours": ["22:00-02:00"], "holidays": ["DE"]},
            BERLIN,
            "2026-01-02T00:30:00",
            "2026-01-02T22:00:00",
        ),
        (
            {"hours": ["22:00-02:00"], "holidays": ["DE"]},
            BERLIN,
            "2026-01-01T00:30:00",
            "2026-01-02T22:00:00",
        ),
        # The whole of 30 December 2011 was left out in Samoa.
        ({"days": ["fri"]}, "Pacific/Apia", "2011-12-29T23:00:00", "2012-01-06T00:00:00"),
        # Midnight itself was skipped in Brazil: the day began at one.
        ({"days": ["sun"]}, "America/Sao_Paulo", "2018-11-03T12:00:00", "2018-11-04T01:00:00"),
    ],
)
def test_golden_cases(said: dict[str, Any], zone: str, now: str, goes_out: str) -> None:
    found = next_open(window(**said), Place(ZoneInfo(zone)), local(now, zone))
    assert found == local(goes_out, zone)


def test_an_hour_that_comes_twice_is_open_twice() -> None:
    one, place = window(hours=["02:00-02:30"]), Place(ZoneInfo(BERLIN))
    second = local("2026-10-25T02:00:00", BERLIN, fold=1)
    assert next_open(one, place, local("2026-10-25T02:30:00", BERLIN)) == second
    assert second - local("2026-10-25T02:00:00", BERLIN) == timedelta(hours=1)


def test_the_users_own_clock_and_holidays_count() -> None:
    one = window(hours=["09:00-20:00"], holidays="user")
    now = datetime(2026, 7, 3, 12, 0, tzinfo=UTC)
    assert next_open(one, Place(ZoneInfo(BERLIN), "DE"), now) == now
    # Eight in the morning, and Independence Day, a Saturday, is kept on this Friday too.
    assert next_open(one, Place(ZoneInfo(NEW_YORK), "US"), now) == local("2026-07-05T09:00:00", NEW_YORK)
    fixed = window(hours=["09:00-20:00"], zone=BERLIN)
    assert opens(fixed, Place(ZoneInfo(NEW_YORK)), now)


def test_outside_a_message_waits_or_is_left_out_or_comes_at_a_stated_time() -> None:
    place, night = Place(ZoneInfo(BERLIN)), local("2026-03-02T22:30:00", BERLIN)
    hold = window(quiet=["21:00-08:00"])
    assert ruling([hold], place, night) == Hold(local("2026-03-03T08:00:00", BERLIN), rule_of("w"))
    assert ruling([window(quiet=["21:00-08:00"], outside="skip")], place, night) == Skip("window.w")
    later = window(quiet=["21:00-08:00"], outside="reschedule", at="10:00")
    assert ruling([later], place, night) == Hold(local("2026-03-03T10:00:00", BERLIN), "window.w")
    # The next such time at which it is open: not on a Sunday.
    days = ["mon", "tue", "wed", "thu", "fri", "sat"]
    weekday = window(days=days, outside="reschedule", at="10:00")
    sunday = local("2026-03-08T12:00:00", BERLIN)
    assert ruling([weekday], place, sunday) == Hold(local("2026-03-09T10:00:00", BERLIN), "window.w")
    # Skipping goes before waiting, whichever window comes first.
    skip = window(id="never", days=["mon"], outside="skip")
    tuesday = local("2026-03-03T22:30:00", BERLIN)
    assert ruling([hold, skip], place, tuesday) == Skip("window.never")


def test_a_time_that_a_day_does_not_have_does_not_come_on_it() -> None:
    one, place = window(outside="reschedule", at="02:30", days=["sun", "mon"]), Place(ZoneInfo(BERLIN))
    assert next_at(one, place, local("2026-03-29T00:00:00", BERLIN)) == local("2026-03-30T02:30:00", BERLIN)
    first = local("2026-10-25T02:30:00", BERLIN)
    assert next_at(one, place, local("2026-10-25T00:00:00", BERLIN)) == first
    assert next_at(one, place, first + MINUTE) == local("2026-10-26T02:30:00", BERLIN)


def test_windows_that_are_never_open_together_leave_the_message_out() -> None:
    place, now = Place(ZoneInfo("UTC")), datetime(2026, 3, 2, tzinfo=UTC)
    mornings, evenings = window(hours=["08:00-12:00"]), window(id="v", hours=["18:00-20:00"])
    assert ruling([mornings, evenings], place, now) == Skip("window.w")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"hours": ["9-20"]}, "write it as '09:00-20:00'"),
        ({"hours": ["09:00-09:00"]}, "the whole day is '00:00-24:00'"),
        ({"hours": ["25:00-26:00"]}, "no time of day"),
        ({"hours": ["09:00-20:00"], "quiet": ["08:00-21:00"]}, "never opens"),
        ({"outside": "reschedule"}, "go together"),
        ({"at": "10:00"}, "go together"),
        ({"outside": "reschedule", "at": 600}, "in quotes"),
        ({"outside": "reschedule", "at": "22:00", "quiet": ["21:00-08:00"]}, "outside of the window's hours"),
        ({"zone": "Europe/Berlln"}, "no time zone"),
        ({"holidays": ["GERMANY"]}, "no holidays are known of a country 'GERMANY'"),
        ({"holidays": ["DE-XX"]}, "no holidays are known of a part 'XX' of DE"),
        ({"days": []}, "at least 1"),
        ({"days": ["monday"]}, "'mon'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_write(said: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        window(**said)


def test_rules_say_which_messages_a_window_is_for() -> None:
    document = Windows.model_validate(
        {
            "windows": [{"id": "day", "hours": ["09:00-20:00"]}, {"id": "never_sunday", "days": ["mon"]}],
            "rules": [
                {"window": "day"},
                {"window": "never_sunday", "channels": ["sms"], "countries": ["DE"]},
                {"window": "never_sunday", "purposes": ["transactional"], "channels": ["letter"]},
            ],
        }
    )

    def bound(purpose: str, channel: str, country: str, *named: str) -> list[str] | None:
        found = document.of(purpose, channel, country, named)
        return None if found is None else [one.id for one in found]

    assert bound("promotional", "email", "DE") == ["day"]
    assert bound("service", "sms", "DE-BY") == ["day", "never_sunday"]
    assert bound("promotional", "sms", "AT") == ["day"]
    assert bound("transactional", "sms", "DE") == []
    assert bound("transactional", "letter", "DE") == ["never_sunday"]
    assert bound("transactional", "sms", "DE", "day") == ["day"]
    assert bound("promotional", "sms", "DE", "gone") is None
    with pytest.raises(ValidationError, match=r"there is no window 'dya', did you mean 'day'\?"):
        Windows.model_validate({"windows": [{"id": "day"}], "rules": [{"window": "dya"}]})
    with pytest.raises(ValidationError, match="'day' is used 2 times"):
        Windows.model_validate({"windows": [{"id": "day"}, {"id": "day"}]})


def test_holidays_are_those_of_the_year_that_is_asked_for() -> None:
    assert is_holiday(date(2038, 12, 25), "DE")
    assert not is_holiday(date(2038, 12, 24), "DE")
    assert not is_holiday(date(2026, 12, 25), "XX")
