"""Keeps the executor and the learner of a running service at work while its requests are measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.errors import BenchmarkError
from benchmarks.shop import DAY, NOW

if TYPE_CHECKING:
    from decision.demo.client import ServiceClient

# The executor and the learner are given this long to get going before requests are measured.
_HEAD_START_SECONDS = 0.5
# Share of a round in which rewards must be being learnt; the rest is the way to the first and from the last.
_LEARNING_AT_LEAST = 0.8


class JobsAtWork:
    """Keeps executor and learner busy, over HTTP; the service has a backlog of `shop.pile_up`.

    Before a round a day passes: each enrolment has fallen due once for every hour of it, and a day's rewards
    can be learnt. Executor and learner are asked once, and are not to come to the end of it meanwhile.
    """

    def __init__(self, base_url: str, key: str) -> None:
        self._base_url = base_url
        self._key = key
        self._days = 0
        # Of how many rewards the newest version knows.
        self._through = 0
        self._last: _Round | None = None

    def pass_a_day(self) -> None:
        """Let a day pass, and close the attribution windows of its decisions."""
        self._days += 1
        with self._client() as client:
            client.move_clock(NOW + self._days * DAY)
            client.run("reward")

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Keep both busy for as long as the block lasts, and the moment until their last jobs end.

        Raises:
            BenchmarkError: a job failed, the executor came to the end of its backlog, or the learner was done
                too early.
        """
        done = _Round(began=time.perf_counter())
        with ThreadPoolExecutor(2) as beside:
            under_way = [beside.submit(self._execute, done), beside.submit(self._learn, done)]
            time.sleep(_HEAD_START_SECONDS)
            yield
            done.measured = time.perf_counter() - done.began
            for one in under_way:
                one.result()
        self._last = done
        if done.executing < done.measured or done.learning < _LEARNING_AT_LEAST * done.measured:
            raise BenchmarkError(f"{done.told()}; the measurement is void")

    def told(self) -> str:
        """Say what was done in the round that ended last."""
        return "" if self._last is None else self._last.told()

    def _execute(self, done: _Round) -> None:
        with self._client() as client:
            done.advanced = int(client.run("deliver")["done"].get("advanced", 0))
        done.executing = time.perf_counter() - done.began

    def _learn(self, done: _Round) -> None:
        with self._client() as client:
            through = int(client.run("learn")["trained"])
        done.learning = time.perf_counter() - done.began
        done.trained, self._through = through - self._through, through

    def _client(self) -> closing[ServiceClient]:
        from decision.demo.client import ServiceClient  # noqa: PLC0415 - an HTTP client, needed here only

        return closing(ServiceClient(self._base_url, self._key))


@dataclass
class _Round:
    """One round under load: for how many seconds it was measured, executed and learnt, and what was done."""

    began: float
    measured: float = 0.0
    executing: float = 0.0
    learning: float = 0.0
    advanced: int = 0
    trained: int = 0

    def told(self) -> str:
        return (
            f"{self.measured:.1f} s under load, in which began {self.executing:.1f} s of the executor "
            f"({self.advanced:,} enrolments advanced) and {self.learning:.1f} s of the learner "
            f"({self.trained:,} rewards)"
        )
