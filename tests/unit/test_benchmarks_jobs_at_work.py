"""A round counts only if executor and learner were at work for all of it."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import datetime
from typing import Any

import pytest

from benchmarks import jobs_at_work
from benchmarks.errors import BenchmarkError
from benchmarks.jobs_at_work import JobsAtWork
from benchmarks.shop import DAY, NOW


class Service:
    """Answers as a service does whose jobs take so many seconds."""

    def __init__(self, **seconds: float) -> None:
        self._seconds = seconds
        self.moved: list[datetime] = []

    def move_clock(self, moment: datetime) -> None:
        self.moved.append(moment)

    def run(self, job: str) -> dict[str, Any]:
        time.sleep(self._seconds.get(job, 0.0))
        return {"done": {"advanced": 7}} if job == "deliver" else {"trained": 5}

    def close(self) -> None:
        return None


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_at_work, "_HEAD_START_SECONDS", 0.01)


def work_of(service: Service, monkeypatch: pytest.MonkeyPatch) -> JobsAtWork:
    monkeypatch.setattr(JobsAtWork, "_client", lambda _: closing(service))
    return JobsAtWork("http://nowhere", "key")


def test_a_round_tells_what_was_done_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(deliver=0.6, learn=0.6)
    work = work_of(service, monkeypatch)
    for _ in range(2):
        work.pass_a_day()
        with work.going_on():
            time.sleep(0.05)
    assert service.moved == [NOW + DAY, NOW + 2 * DAY]
    # Five rewards were learnt in the first round, and no more in the second.
    assert "(7 enrolments advanced)" in work.told()
    assert "(0 rewards)" in work.told()


@pytest.mark.parametrize("seconds", [{"deliver": 0.6}, {"learn": 0.6}])
def test_a_round_in_which_one_came_to_its_end_is_void(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]
) -> None:
    work = work_of(Service(**seconds), monkeypatch)
    with pytest.raises(BenchmarkError, match="the measurement is void"), work.going_on():
        time.sleep(0.3)
