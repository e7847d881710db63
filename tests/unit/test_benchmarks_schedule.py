"""Open-loop schedules: fixed send times, bounds, and percentiles by nearest rank."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.errors import BoundsExceeded
from benchmarks.schedule import MAX_REQUESTS, Schedule, percentile, summarise


def test_send_times_are_fixed_and_even() -> None:
    schedule = Schedule(rate=200, number=400)
    assert [schedule.due(index) for index in range(3)] == [0.0, 0.005, 0.01]
    assert schedule.seconds == 2.0


@pytest.mark.parametrize(
    ("rate", "number"),
    [(0, 10), (-1, 10), (10, 0), (1e9, MAX_REQUESTS + 1), (0.001, 10), (math.nan, 10), (math.inf, 0)],
)
def test_a_load_without_bounds_is_refused(rate: float, number: int) -> None:
    with pytest.raises(BoundsExceeded, match="can't be run: give 1 to"):
        Schedule(rate, number)


@given(st.lists(st.floats(0, 1e3), min_size=1), st.sampled_from([50, 95, 99, 100]))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(
    values: list[float], percent: float
) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    enough = percent / 100 * len(ordered)
    assert sum(value <= found for value in ordered) >= enough
    assert sum(value < found for value in ordered) < enough


def test_errors_do_not_count_as_answers() -> None:
    latencies = summarise([0.001] * 8 + [0.5] * 2, errors=2, elapsed=2.0, late=0.25)
    assert (latencies.number, latencies.errors, latencies.rate) == (10, 2, 4.0)
    assert (latencies.p50, latencies.p95, latencies.max, latencies.late) == (1.0, 500.0, 500.0, 250.0)
