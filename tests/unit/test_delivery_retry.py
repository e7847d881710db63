"""When a message is tried again."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from delivery.retry import Retry

MINUTE = timedelta(minutes=1)


@given(st.text(max_size=20), st.integers(1, 40))
def test_delays_double_within_bounds_and_are_the_same_every_time(key: str, attempt: int) -> None:
    retry = Retry(attempts=50, first=MINUTE, longest=60 * MINUTE)
    delay = retry.delay(key, attempt)
    full = min(MINUTE * 2 ** (attempt - 1), 60 * MINUTE)
    assert delay is not None
    assert full / 2 <= delay <= full
    assert delay == retry.delay(key, attempt)


def test_messages_that_failed_together_do_not_come_back_together() -> None:
    delays = {Retry().delay(f"e:1:{number}", 1) for number in range(100)}
    assert len(delays) == 100


def test_the_last_attempt_is_the_last() -> None:
    retry = Retry(attempts=3)
    assert retry.delay("k", 2) is not None
    assert retry.delay("k", 3) is None
    assert retry.delay("k", 4) is None
