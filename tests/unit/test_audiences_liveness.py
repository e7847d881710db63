"""What is usual for a feed, and what is no accident any more."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from audiences.liveness.usual import ALARM, HOUR, Usual, is_jump, silence, usual
from tests.conftest import START

WEEK = timedelta(weeks=1)


def _history(weeks: int, rate: float, seed: int = 1) -> dict[datetime, int]:
    """Return numbers of Poisson by hour: `rate` from 8 to 20 h, a tenth of it at night."""
    draw = np.random.default_rng(seed)
    start = START - weeks * WEEK
    hours = [start + index * HOUR for index in range(weeks * 168)]
    counts = {hour: int(draw.poisson(rate if 8 <= hour.hour < 20 else rate / 10)) for hour in hours}
    return {hour: number for hour, number in counts.items() if number}


def test_the_usual_number_is_that_of_the_hour_of_the_week() -> None:
    learned = usual(_history(8, 40), START)
    assert learned.mean(START + 3 * HOUR) == pytest.approx(40, rel=0.25)
    assert learned.mean(START + 18 * HOUR) == pytest.approx(4, rel=0.6)
    # Poisson's own scatter asks for no more.
    assert learned.size > 50


def test_an_outage_and_a_campaign_of_the_past_do_not_count() -> None:
    counts = _history(8, 40)
    plain = usual(counts, START).mean(START)
    counts[START - WEEK] = 0
    counts[START - 2 * WEEK] = 4_000
    assert usual(counts, START).mean(START) == pytest.approx(plain, rel=0.15)


def test_a_young_feed_goes_by_the_hour_of_the_day_and_before_that_by_nothing() -> None:
    young = {hour: n for hour, n in _history(1, 40).items() if hour >= START - timedelta(days=4)}
    assert usual(young, START).mean(START + 2 * HOUR) == pytest.approx(40, rel=0.4)
    newborn = usual({START - HOUR: 60}, START)
    assert np.isnan(newborn.mean(START + 2 * HOUR))
    assert silence(newborn, START, START + 48 * HOUR) == (1.0, 0.0)
    assert not is_jump(newborn, START, 100_000, 1.0)
    assert silence(usual({}, START), START, START + HOUR)[0] == 1.0


@pytest.mark.parametrize(("rate", "minutes"), [(60.0, 17), (20.0, 49), (4.0, 4 * 61), (1.0, 17 * 60)])
def test_silence_is_noticed_after_sixteen_usual_minutes(rate: float, minutes: int) -> None:
    steady = Usual(START, np.full(168, rate), 1e6)
    before, _ = silence(steady, START, START + timedelta(minutes=minutes - rate_slack(rate)))
    after, expected = silence(steady, START, START + timedelta(minutes=minutes))
    assert before >= ALARM > after
    assert expected == pytest.approx(rate * minutes / 60)


def rate_slack(rate: float) -> float:
    """Minutes within which the alarm is looked for: less than one usual minute."""
    return 60 / rate


def test_an_hourly_batch_of_any_length_raises_nothing() -> None:
    for minutes in range(1, 61):
        feed = Usual(START, np.full(168, float(minutes)), 1e6)
        begins = START + timedelta(minutes=minutes)
        probability, _ = silence(feed, begins, START + HOUR)
        assert probability >= ALARM


def test_an_uneven_feed_is_given_more_time() -> None:
    even, uneven = Usual(START, np.full(168, 10.0), 1e6), Usual(START, np.full(168, 10.0), 1.0)
    until = START + 2 * HOUR
    assert silence(even, START, until)[0] < ALARM < silence(uneven, START, until)[0]


def test_half_a_year_of_a_healthy_small_feed_raises_next_to_nothing() -> None:
    """Looks once an hour at a feed of three events an hour by day, learned anew each day."""
    counts = _history(34, 3, seed=5)
    alarms = 0
    last = min(counts)
    learned = usual({}, last)
    begin = START - 26 * WEEK
    for hour in (START - 34 * WEEK + index * HOUR for index in range(34 * 168)):
        if hour >= begin:
            if hour.hour == 0:
                recent = {one: n for one, n in counts.items() if hour - 9 * WEEK <= one < hour}
                learned = usual(recent, hour)
            alarms += silence(learned, last, hour)[0] < ALARM
            alarms += is_jump(learned, hour, counts.get(hour, 0), 1.0)
        if counts.get(hour):
            last = hour + HOUR
    assert alarms == 0


@pytest.mark.parametrize(
    ("number", "share", "jump"),
    [(150, 1.0, True), (110, 1.0, False), (60, 0.25, True), (45, 0.1, False), (40, 1.0, False)],
)
def test_a_jump_is_many_times_the_usual(number: int, share: float, jump: bool) -> None:
    assert is_jump(Usual(START, np.full(168, 40.0), 1e6), START, number, share) is jump
