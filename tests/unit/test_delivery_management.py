"""How a channel stands: tokens keep to the rate, the breaker opens and closes by what came of attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from delivery.channels.management import Breaker, Management, Quota, Rate
from delivery.channels.management.managed import periods_of
from delivery.channels.management.standing import Came, ChannelState, Phase, after, room, taken

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@settings(max_examples=50, deadline=None)
@given(
    messages=st.integers(1, 50),
    waits=st.lists(st.floats(0, 3), max_size=40),
    asked=st.integers(1, 200),
)
def test_no_more_goes_out_than_the_rate_and_one_burst(messages: int, waits: list[float], asked: int) -> None:
    managed = Management(rate=Rate(messages=messages))
    state, now, sent = ChannelState(), NOW, 0
    for wait in [0.0, *waits]:
        now += wait * SECOND
        number = room(state, managed, now, asked)
        assert 0 <= number <= asked
        state, sent = taken(state, managed, now, number), sent + number
    passed = (now - NOW) / SECOND
    assert sent <= messages * passed + messages + 1e-6
    # And what is asked for often enough is had.
    if asked >= messages and all(wait <= 1 for wait in waits):
        assert sent >= messages * passed - 1


def test_a_slow_rate_gives_one_at_a_time() -> None:
    managed = Management(rate=Rate(messages=6, per="minute"))
    state = taken(ChannelState(), managed, NOW, room(ChannelState(), managed, NOW, 9))
    assert [room(state, managed, NOW + seconds * SECOND, 9) for seconds in (0, 9, 10, 600)] == [0, 0, 1, 1]


def test_what_was_not_tried_gives_its_tokens_back() -> None:
    managed = Management(rate=Rate(messages=5))
    state = taken(ChannelState(), managed, NOW, 5)
    assert room(after(state, managed, Came(let_go=3), NOW), managed, NOW, 9) == 3


def test_the_breaker_opens_rests_probes_and_closes() -> None:
    managed = Management(breaker=Breaker(failures=3, share=0.5, rest=timedelta(seconds=30), probes=2))
    state = after(ChannelState(), managed, Came(taken=2, failed=2), NOW)
    assert state.phase(NOW) is Phase.CLOSED
    state = after(state, managed, Came(failed=1, why="503"), NOW + SECOND)
    opened = NOW + SECOND
    assert (state.phase(opened), state.opened_at, state.why) == (Phase.OPEN, opened, "503")
    assert room(state, managed, opened + 29 * SECOND, 9) == 0
    probing = opened + 30 * SECOND
    assert (state.phase(probing), room(state, managed, probing, 9)) == (Phase.HALF_OPEN, 2)
    state = taken(state, managed, probing, 2)
    assert room(state, managed, probing, 9) == 0
    # It fails again: it is open since it opened, and rests once more.
    state = after(state, managed, Came(failed=2), probing + SECOND)
    assert state.open_for(probing + SECOND) == 31 * SECOND
    again = probing + 31 * SECOND
    state = after(taken(state, managed, again, 2), managed, Came(taken=1, failed=1), again)
    assert (state.phase(again), room(state, managed, again, 9)) == (Phase.CLOSED, 9)


def test_few_failures_among_many_or_long_ago_open_nothing() -> None:
    managed = Management(breaker=Breaker(failures=3, share=0.5, window=timedelta(minutes=1)))
    state = after(ChannelState(), managed, Came(taken=100, failed=3), NOW)
    assert state.phase(NOW) is Phase.CLOSED
    state = after(ChannelState(), managed, Came(failed=2), NOW)
    later = NOW + timedelta(minutes=1)
    assert after(state, managed, Came(failed=2), later).phase(later) is Phase.CLOSED


def test_a_refused_message_says_that_the_provider_answers() -> None:
    managed = Management(breaker=Breaker(failures=1, share=0.1))
    state = after(ChannelState(), managed, Came(refused=1), NOW)
    assert state.phase(NOW) is Phase.CLOSED
    state = after(after(state, managed, Came(failed=1), NOW), managed, Came(refused=1), NOW)
    assert state.phase(NOW) is Phase.CLOSED


def test_who_asks_to_wait_is_left_alone() -> None:
    managed = Management()
    state = after(ChannelState(), managed, Came(busy=1, let_go=1, hold=10 * SECOND), NOW)
    assert [room(state, managed, NOW + seconds * SECOND, 9) for seconds in (0, 9.9, 10)] == [0, 0, 9]


def test_days_and_months_are_those_of_the_zone() -> None:
    quota = Quota(day=5, month=100, zone="Europe/Berlin")
    late = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)
    assert periods_of(quota, late) == {"day": ("2026-04-01", 5), "month": ("2026-04", 100)}


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"rate": {"messages": 0}}, "greater than or equal to 1"),
        ({"rate": {"messages": 5, "per": "fortnight"}}, "'second' or 'minute'"),
        ({"quota": {}}, "of a `day`, of a `month`"),
        ({"quota": {"day": 5, "zone": "Mars"}}, "there is no time zone 'Mars'"),
        ({"breaker": {"then_after": "PT10M"}}, "needs `then`"),
        ({"then": ["sms", "sms"]}, "more than once"),
        ({"cost": "0.07"}, "is not money"),
        ({"concurrency": 65}, "less than or equal to 64"),
        ({"retries": 5}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Management.model_validate(said)
