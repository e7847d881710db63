"""Runs the jobs of the loop by themselves, each at its interval."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec
import structlog

from decision.health import unavailable
from decision.jobs import Jobs
from storage.errors import NextplayError
from storage.leases import LeaseHeld

_log = structlog.get_logger(__name__)

# Seconds from the end of one run to the start of the next, when the service runs its jobs by itself.
INTERVALS: Mapping[str, float] = {
    "deliver": 0.5,
    "push": 0.5,
    "scores": 0.5,
    "triggers": 0.5,
    "machines": 2.0,
    "receipts": 2.0,
    "quality": 10.0,
    "liveness": 60.0,
    "protect": 10.0,
    "reward": 10.0,
    "pilots": 60.0,
    "learn": 60.0,
    "shadow": 60.0,
    "ledger": 60.0,
    "features": 900.0,
    # Those who changed; everybody each quarter of an hour.
    "audiences": 15.0,
}
# The same after a run that found something to do: somebody waits, and more is on its way.
_SOON: Mapping[str, float] = {"deliver": 0.1, "triggers": 0.1}
# What one job found is work for another, which begins at once where it runs in the same process.
_LEADS_TO: Mapping[str, str] = {"triggers": "deliver"}
# Seconds between two looks whether it is this process's turn, and at least from a failure to the next try.
_LOOK = 1.0


class Ended(msgspec.Struct, frozen=True):
    """How jobs ended that were to stop: whether all they had queued is written, and which had not ended."""

    written: bool
    jobs: list[str]


class JobSchedule(Protocol):
    """Runs jobs by themselves."""

    def start(self) -> None:
        """Start running the jobs."""
        ...

    def stop(self, seconds: float) -> Ended:
        """Let the running jobs end after their batch and start no more, for at most `seconds`."""
        ...


class Scheduler:
    """Runs jobs at their intervals, each in a thread of its own, until it is stopped."""

    def __init__(self, jobs: Jobs, names: Iterable[str], intervals: Mapping[str, float] = INTERVALS) -> None:
        self._jobs = jobs
        self._stop = threading.Event()
        self._called = {name: threading.Event() for name in names}
        self._threads = [
            threading.Thread(
                target=self._repeat, args=(name, intervals[name]), name=f"job-{name}", daemon=True
            )
            for name in self._called
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> Ended:
        self._stop.set()
        for called in self._called.values():
            called.set()
        self._jobs.stop()
        until = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))
        left = [thread.name.removeprefix("job-") for thread in self._threads if thread.is_alive()]
        return Ended(written=True, jobs=left)

    def _repeat(self, name: str, seconds: float) -> None:
        while not self._stop.is_set():
            if not self._jobs.may_run(name):
                self._pause(name, min(seconds, _LOOK))
            elif (found := self._ran(name)) is None:
                self._pause(name, max(seconds, _LOOK))
            else:
                if found and (after := self._called.get(_LEADS_TO.get(name, ""))) is not None:
                    after.set()
                self._pause(name, _SOON.get(name, seconds) if found else seconds)

    def _pause(self, name: str, seconds: float) -> None:
        """Wait, unless the job is called: by another that found work for it, or to end."""
        called = self._called[name]
        called.wait(seconds)
        called.clear()

    def _ran(self, name: str) -> bool | None:
        """Run a job; say whether it found something to do, None if it failed."""
        try:
            report = self._jobs.run(name, asked=False)
        except LeaseHeld:
            # It was lost between looking and taking: another process runs the job now.
            return None
        except Exception as error:  # noqa: BLE001 - one failed run must not end all later ones
            known = unavailable(error) or error
            if self._stop.is_set():
                _log.info("job stopped", job=name)
            elif isinstance(known, NextplayError):
                _log.warning("job failed", job=name, code=known.code, error=str(known))
            else:
                _log.exception("job failed", job=name)
            return None
        return _found(report)


def _found(report: Mapping[str, Any]) -> bool:
    """Whether a run did anything, by what it reports beside its name and its time."""
    told = {name: value for name, value in report.items() if name not in ("job", "seconds")}
    return any(any(value.values()) if isinstance(value, Mapping) else bool(value) for value in told.values())
