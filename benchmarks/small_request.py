"""What a customer's small request waits for while executor and learner are at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError
from benchmarks.http_load import Requests, run_apart
from benchmarks.schedule import Latencies, Schedule
from benchmarks.shop import DAY, NOW, SEED, STEP, Backlog, opened_shop, pile_up, users

if TYPE_CHECKING:
    from decision.demo.client import ServiceClient

USERS = 200
SCHEDULE = Schedule(rate=200, number=400)
REPEATS = 4
# A day's rewards keep the learner at work for longer than the requests take; the first day is for warming up.
BACKLOG = Backlog(enrolments=10_000, days=REPEATS + 1, decisions_a_day=60_000)
# The executor and the learner are given this long to get going before requests are measured.
_HEAD_START_SECONDS = 0.5
# Share of a round in which rewards must be being learnt; the rest is the way to the first and from the last.
_LEARNING_AT_LEAST = 0.8


def measure(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of p99 in milliseconds, loaded and idle, of one running service."""
    from decision.demo.client import running_service  # noqa: PLC0415 - an HTTP client, needed here only

    data = folder / "data"
    say(
        f"makes a backlog of {BACKLOG.enrolments:,} waiting enrolments and "
        f"{BACKLOG.days * BACKLOG.decisions_a_day:,} decisions"
    )
    with opened_shop(data, USERS) as service:
        pile_up(service, BACKLOG, users(USERS))
    with running_service(data, clock=NOW, seed=SEED, log=folder / "service.log") as client:
        requests = Requests(int(client.http.base_url.port or 0), "/v1/track", _bodies(), key=client.key)
        work = _Work(str(client.http.base_url), client.key)

        def loaded() -> float:
            work.mature_a_day()
            with work.going_on():
                return _p99(requests)

        pairs = alternate(loaded, lambda: _p99(requests), REPEATS)
        say(work.told())
    return pairs


def _p99(requests: Requests) -> float:
    latencies: Latencies = run_apart(requests, SCHEDULE)
    if latencies.errors:
        failed = f"{latencies.errors} of {latencies.number} requests"
        raise BenchmarkError(f"{failed} were not acknowledged; the measurement is void")
    return latencies.p99


class _Work:
    """Keeps executor and learner of a running service busy while requests are measured.

    The executor is asked again and again, with the clock moved on a step whenever nothing is due, so that its
    enrolments come back; the learner gets a day's rewards at once.
    """

    def __init__(self, base_url: str, key: str) -> None:
        self._base_url = base_url
        self._key = key
        self._days = 0
        # Of how many rewards the newest version knows.
        self._through = 0
        self._rounds: list[_Round] = []

    def mature_a_day(self) -> None:
        """Close the attribution windows of the next day's decisions, so that their rewards can be learnt."""
        self._days += 1
        with self._client() as client:
            client.move_clock(NOW + self._days * DAY)
            client.run("reward")

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Keep both busy for as long as the block lasts, and the moment until their last jobs end.

        Raises:
            BenchmarkError: a job failed, the executor had nothing to do, or the learner was done too early.
        """
        done = _Round(NOW + self._days * DAY, began=time.perf_counter())
        with ThreadPoolExecutor(2) as beside:
            under_way = [beside.submit(self._execute, done), beside.submit(self._learn, done)]
            try:
                time.sleep(_HEAD_START_SECONDS)
                yield
            finally:
                done.measured = time.perf_counter() - done.began
                done.over.set()
            for one in under_way:
                one.result()
        if not done.advanced or done.learning < _LEARNING_AT_LEAST * done.measured:
            raise BenchmarkError(
                f"{done.advanced:,} enrolments were advanced, and learning {done.trained:,} rewards took "
                f"{done.learning:.1f} of {done.measured:.1f} s; the measurement is void"
            )
        self._rounds.append(done)

    def told(self) -> str:
        """Say how much was done under load."""
        advanced = sum(done.advanced for done in self._rounds) / sum(done.executing for done in self._rounds)
        learnt = sum(done.trained for done in self._rounds) / sum(done.learning for done in self._rounds)
        return f"under load {advanced:,.0f} enrolments a second were advanced, {learnt:,.0f} rewards learnt"

    def _execute(self, done: _Round) -> None:
        now = done.now
        with self._client() as client:
            while not done.over.is_set():
                advanced = int(client.run("deliver")["done"].get("advanced", 0))
                done.advanced += advanced
                if not advanced:
                    now += STEP
                    client.move_clock(now)
        done.executing = time.perf_counter() - done.began

    def _learn(self, done: _Round) -> None:
        with self._client() as client:
            through = int(client.run("learn")["trained"])
        done.learning = time.perf_counter() - done.began
        done.trained, self._through = through - self._through, through

    def _client(self) -> closing[ServiceClient]:
        from decision.demo.client import ServiceClient  # noqa: PLC0415 - as above

        return closing(ServiceClient(self._base_url, self._key))


@dataclass
class _Round:
    """One round under load: what was done, and how many seconds of it were executing and learning."""

    now: datetime
    began: float
    over: threading.Event = field(default_factory=threading.Event)
    measured: float = 0.0
    executing: float = 0.0
    learning: float = 0.0
    advanced: int = 0
    trained: int = 0


def _bodies() -> list[bytes]:
    return [
        msgspec.json.encode(
            {"userId": f"user-{index % USERS}", "event": "page_viewed", "properties": {"path": f"/{index}"}}
        )
        for index in range(1_000)
    ]


SMALL_REQUEST = Benchmark(
    name="small_request_under_load",
    measures="p99 of a tracked event over HTTP while the executor has a backlog and the learner never rests.",
    against="The same requests to the same service while it does nothing else.",
    unit="ms",
    bound=Bound("ratio", "<=", 2),
    run=measure,
)
