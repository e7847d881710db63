"""Jobs that run by themselves: soon again where there was work, at once where another job found it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from decision.jobs import Jobs
from decision.scheduling import INTERVALS, Scheduler
from storage.errors import DatabaseUnavailable

# Longer than any test takes: what runs twice within it was called.
LONG = 600.0
SECONDS = 10.0


class Told:
    """Jobs that report what they are told to, each report once; then that there was nothing."""

    def __init__(self, reports: Mapping[str, list[dict[str, Any] | Exception]]) -> None:
        self.reports, self.stopped = dict(reports), False
        self.began: dict[str, list[float]] = {name: [] for name in reports}
        self.changed = threading.Condition()

    def may_run(self, name: str) -> bool:
        return True

    def run(self, name: str, *, asked: bool) -> dict[str, Any]:
        with self.changed:
            self.began[name].append(time.monotonic())
            self.changed.notify_all()
            report = self.reports[name].pop(0) if self.reports[name] else {}
        if isinstance(report, Exception):
            raise report
        return {"job": name, "seconds": 0.1, **report}

    def stop(self) -> None:
        self.stopped = True

    def wait_for(self, name: str, runs: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.began[name]) >= runs, SECONDS)


@contextmanager
def scheduled(jobs: Told, intervals: Mapping[str, float]) -> Iterator[None]:
    scheduler = Scheduler(cast("Jobs", jobs), intervals, intervals)
    scheduler.start()
    try:
        yield
    finally:
        ended = scheduler.stop(SECONDS)
        assert jobs.stopped
        assert ended.jobs == []


def test_who_found_work_runs_again_soon_and_calls_who_does_it() -> None:
    jobs = Told(
        {
            "triggers": [{"fired": 2, "decided": 2}],
            "deliver": [{"done": {"sent": 0}}],
            "push": [{"events": 5}],
        }
    )
    with scheduled(jobs, {"triggers": LONG, "deliver": LONG, "push": LONG}):
        jobs.wait_for("triggers", 2)
        jobs.wait_for("deliver", 2)
    # Nothing was found the second time, and of the others nobody waits for what they do.
    assert {name: len(began) for name, began in jobs.began.items()} == {
        "triggers": 2,
        "deliver": 2,
        "push": 1,
    }


def test_what_was_delivered_is_found_in_its_counts() -> None:
    jobs = Told({"deliver": [{"done": {"sent": 3, "failed": 0}}]})
    with scheduled(jobs, {"deliver": LONG}):
        jobs.wait_for("deliver", 2)
    assert len(jobs.began["deliver"]) == 2


def test_what_failed_waits_longer() -> None:
    jobs = Told({"deliver": [DatabaseUnavailable("away")]})
    with scheduled(jobs, {"deliver": 0.01}):
        jobs.wait_for("deliver", 2)
    first, second = jobs.began["deliver"][:2]
    assert second - first >= 1.0


def test_versions_are_published_once_a_minute_at_most() -> None:
    """However much there is to learn, and whatever the jobs before it found."""
    jobs = Told(
        {
            "learn": [{"trained": 500, "done": {"published": 1}}] * 2,
            "reward": [{"done": {"matured": 500}}] * 2,
            "triggers": [{"fired": 2, "decided": 2}],
        }
    )
    with scheduled(jobs, {"learn": 0.3, "reward": 0.05, "triggers": 0.05}):
        jobs.wait_for("reward", 2)
        jobs.wait_for("learn", 2)
    first, second = jobs.began["learn"][:2]
    assert second - first >= 0.3
    assert INTERVALS["learn"] >= 60
