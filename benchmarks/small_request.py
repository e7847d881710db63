"""What a customer's small request waits for while executor and learner are at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError
from benchmarks.http_load import Requests, run_apart
from benchmarks.schedule import Latencies, Schedule
from benchmarks.shop import NOW, SEED, STEP, Backlog, opened_shop, pile_up, users

if TYPE_CHECKING:
    from decision.demo.client import ServiceClient

BACKLOG = Backlog(enrolments=20_000, steps=60, decisions_a_step=1_000)
USERS = 200
SCHEDULE = Schedule(rate=200, number=800)
REPEATS = 5
# The executor and the learner are given this long to get going before requests are measured.
_HEAD_START_SECONDS = 0.5


def measure(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of p99 in milliseconds, loaded and idle, of one running service."""
    from decision.demo.client import running_service  # noqa: PLC0415 - an HTTP client, needed here only

    data = folder / "data"
    say(
        f"makes a backlog of {BACKLOG.enrolments:,} waiting enrolments and "
        f"{BACKLOG.steps * BACKLOG.decisions_a_step:,} decisions"
    )
    with opened_shop(data, USERS) as service:
        pile_up(service, BACKLOG, users(USERS))
    with running_service(data, clock=NOW, seed=SEED, log=folder / "service.log") as client:
        requests = Requests(int(client.http.base_url.port or 0), "/v1/track", _bodies())
        work = _Work(str(client.http.base_url))

        def loaded() -> float:
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
    """Keeps executor and learner of a running service busy, by asking for their jobs again and again.

    The clock is moved on a step each time, so enrolments fall due and windows close without end.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._clock = _Clock(NOW)
        self._seconds = 0.0
        self._learning = 0.0
        self._advanced = 0
        self._trained = 0
        self._failures: list[BaseException] = []

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Keep both busy for as long as the block lasts, and the moment until their last jobs end.

        Raises:
            BenchmarkError: a job failed, or one of them had nothing to do.
        """
        stop = threading.Event()
        before = self._advanced, self._trained
        threads = [
            threading.Thread(target=self._repeat, args=(what, stop))
            for what in (self._execute, self._mature, self._learn)
        ]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        try:
            time.sleep(_HEAD_START_SECONDS)
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            self._seconds += time.perf_counter() - started
        if self._failures:
            raise BenchmarkError(f"a job failed under load: {self._failures[0]}") from self._failures[0]
        if self._advanced == before[0] or self._trained == before[1]:
            raise BenchmarkError("executor or learner had nothing to do; the measurement is void")

    def told(self) -> str:
        """Say how much was done under load."""
        return (
            f"under load {self._advanced / self._seconds:,.0f} enrolments a second were advanced, "
            f"{self._trained / self._seconds:,.0f} rewards learnt; learning was under way "
            f"{self._learning / self._seconds:.0%} of the time"
        )

    def _repeat(self, what: Callable[[ServiceClient], None], stop: threading.Event) -> None:
        from decision.demo.client import ServiceClient  # noqa: PLC0415 - as above

        client = ServiceClient(self._base_url)
        try:
            while not stop.is_set():
                what(client)
        except Exception as error:  # noqa: BLE001 - carried over to the thread that measures
            self._failures.append(error)
        finally:
            client.close()

    def _execute(self, client: ServiceClient) -> None:
        self._clock.step(client)
        self._advanced += int(client.run("deliver")["done"].get("advanced", 0))

    def _mature(self, client: ServiceClient) -> None:
        if not client.run("reward")["matured"]:
            self._clock.step(client)

    def _learn(self, client: ServiceClient) -> None:
        started = time.perf_counter()
        report = client.run("learn")
        self._trained = max(self._trained, int(report["trained"]))
        self._learning += time.perf_counter() - started


class _Clock:
    """The service's clock, moved by several threads."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._lock = threading.Lock()

    def step(self, client: ServiceClient) -> None:
        """Move it on by one step."""
        with self._lock:
            self._now += STEP
            client.move_clock(self._now)


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
