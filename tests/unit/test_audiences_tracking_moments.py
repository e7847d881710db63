"""When an event happened: the sender's clock, corrected by what it says of itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.errors import EventRefused
from audiences.events import EARLIEST, FUTURE_TOLERANCE
from audiences.tracking.moments import Stamp, moment, occurred_at

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
YEARS = timedelta(days=20 * 365)


def happened(timestamp: Stamp = None, original: Stamp = None, sent: Stamp = None) -> datetime:
    return occurred_at(NOW, timestamp=timestamp, original=original, sent_at=moment("sentAt", sent))


@given(
    st.timedeltas(-YEARS, YEARS),
    st.timedeltas(timedelta(0), timedelta(days=30)),
    st.timedeltas(timedelta(0), timedelta(hours=1)),
)
def test_whatever_the_devices_clock_says_the_event_is_as_old_as_it_was_when_sent(
    skew: timedelta, age: timedelta, way: timedelta
) -> None:
    """It happened `age` before it was sent, `way` before now; the device's clock is off by `skew`."""
    sent = NOW - way + skew
    device = sent - age
    for one in (
        happened(device.isoformat(), None, sent.isoformat()),
        happened(None, device.isoformat(), sent.isoformat()),
    ):
        assert one == NOW - age


def test_without_a_time_of_sending_the_device_is_believed() -> None:
    assert happened("2026-03-02T08:00:00Z") == NOW - timedelta(hours=1)
    assert happened(None, "2026-03-02T10:00:00+02:00") == NOW - timedelta(hours=1)
    assert happened() == happened("", "", "") == NOW


def test_a_time_that_was_corrected_before_is_not_corrected_again() -> None:
    corrected = happened("2026-03-02T08:00:00Z", "2025-01-01T00:00:00Z", "2025-01-01T00:00:01Z")
    assert corrected == NOW - timedelta(hours=1)


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-03-02T08:30:00Z",
        "2026-03-02T08:30:00.000000000Z",
        "2026-03-02 08:30:00+00:00",
        "20260302T083000Z",
        "2026-03-02T09:30:00+0100",
    ],
)
def test_iso_8601_is_read(stamp: str) -> None:
    assert happened(stamp) == NOW - timedelta(minutes=30)


@pytest.mark.parametrize(
    ("stamp", "what"),
    [
        (1772442000, "is the number 1772442000: write ISO 8601"),
        (1772442000.5, "is the number 1772442000.5"),
        (1e300, "is the number"),
        (10**400, "is the number 1000"),
        ("1772442000", "is no time"),
        ("2026-03-02T08:30:00", "has no time zone"),
        ("2026-03-02", "has no time zone"),
        ("2026-13-02T08:30:00Z", "is no time"),
        ("0001-01-01T00:00:00+14:00", "is no time"),
        ("é" * 100, "is no time"),
        ((EARLIEST - timedelta(microseconds=1)).isoformat(), "lies before 2000-01-01: the clock was not set"),
        ((NOW + FUTURE_TOLERANCE + timedelta(microseconds=1)).isoformat(), "lies in the future"),
    ],
)
def test_any_other_time_is_told_what_is_wrong(stamp: Stamp, what: str) -> None:
    with pytest.raises(EventRefused, match=what):
        happened(stamp)


def test_the_limits_themselves_are_taken() -> None:
    assert happened(EARLIEST.isoformat()) == EARLIEST
    assert happened((NOW + FUTURE_TOLERANCE).isoformat()) == NOW + FUTURE_TOLERANCE


def test_what_stays_absurd_after_the_correction_is_refused() -> None:
    with pytest.raises(EventRefused, match="corrected by `sentAt`, lies in the future"):
        happened("2026-03-05T00:00:00Z", None, "2026-03-01T00:00:00Z")
    with pytest.raises(EventRefused, match="corrected by `sentAt`, lies before 2000-01-01"):
        happened("1970-01-01T00:00:00Z", None, "2026-03-01T00:00:00Z")
    with pytest.raises(EventRefused, match="too far apart"):
        happened("0001-01-01T00:00:00Z", None, "9999-12-31T00:00:00Z")
