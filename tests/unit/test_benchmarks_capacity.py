"""The search finds what a server holds, also one that tires when it is asked for long."""

from __future__ import annotations

import pytest

from benchmarks.capacity import HELD_SECONDS, capacity
from benchmarks.errors import BenchmarkError
from benchmarks.schedule import Latencies, Schedule


class Server:
    """Answers in time up to a rate, and up to another one when it is asked for long."""

    def __init__(self, holds: float, lasting: float | None = None, errors: int = 0) -> None:
        self._holds, self._lasting, self._errors = holds, holds if lasting is None else lasting, errors
        self.asked: list[Schedule] = []

    def load(self, schedule: Schedule) -> Latencies:
        self.asked.append(schedule)
        most = self._lasting if schedule.seconds > HELD_SECONDS / 2 else self._holds
        p99 = 5.0 if schedule.rate <= most else 80.0
        return Latencies(schedule.number, self._errors, schedule.rate, 1.0, 2.0, p99, p99, 0.0)


@pytest.mark.parametrize("holds", [40.0, 100.0, 1_730.0])
def test_the_rate_that_is_held_is_found_from_below(holds: float) -> None:
    server = Server(holds)
    assert 0.95 * holds <= capacity(server.load, 100.0) <= holds
    assert server.asked[-1].seconds == pytest.approx(HELD_SECONDS, rel=0.01)


def test_what_is_held_for_a_moment_only_is_not_held() -> None:
    assert 0.95 * 700.0 <= capacity(Server(1_000.0, lasting=700.0).load, 100.0) <= 700.0


def test_a_server_that_errs_holds_nothing() -> None:
    with pytest.raises(BenchmarkError, match="not even one request"):
        capacity(Server(1_000.0, errors=1).load, 100.0)
