"""What a customer's small request waits for while executor and learner are at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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

BACKLOG = Backlog(enrolments=10_000, steps=1_000, decisions_a_step=100)
USERS = 200
SCHEDULE = Schedule(rate=200, number=800)
REPEATS = 5
# The executor and the learner are given this long to get going before requests are measured.
_HEAD_START_SECONDS = 0.5
# Share of the time in which new rewards must be being learnt; the rest is the way from one call to the next.
_LEARNING_AT_LEAST = 0.5


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
        requests = Requests(int(client.http.base_url.port or 0), "/v1/track", _bodies(), key=client.key)
        work = _Work(str(client.http.base_url), client.key)

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

    The clock is moved on a step each time, so enrolments fall due and windows close as long as there are any.
    """

    def __init__(self, base_url: str, key: str) -> None:
        self._base_url = base_url
        self._key = key
        self._now = NOW
        self._moving = threading.Lock()
        self._beside = ThreadPoolExecutor(1)
        self._seconds = 0.0
        self._learning = 0.0
        self._advanced = 0
        self._trained = 0
        self._failures: list[BaseException] = []

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Keep both busy for as long as the block lasts, and the moment until their last jobs end.

        Raises:
            BenchmarkError: a job failed, the executor had nothing to do, or the learner too little.
        """
        stop = threading.Event()
        advanced, learning, began = self._advanced, self._learning, time.perf_counter()
        threads = [
            threading.Thread(target=self._repeat, args=(what, stop)) for what in (self._execute, self._learn)
        ]
        for thread in threads:
            thread.start()
        try:
            time.sleep(_HEAD_START_SECONDS)
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            seconds = time.perf_counter() - began
            self._seconds += seconds
        if self._failures:
            raise BenchmarkError(f"a job failed under load: {self._failures[0]}") from self._failures[0]
        busy = (self._learning - learning) / seconds
        if self._advanced == advanced or busy < _LEARNING_AT_LEAST:
            raise BenchmarkError(
                f"{self._advanced - advanced} enrolments were advanced, and learning was under way only "
                f"{busy:.0%} of the time; the measurement is void"
            )

    def told(self) -> str:
        """Say how much was done under load."""
        return (
            f"under load {self._advanced / self._seconds:,.0f} enrolments a second were advanced, "
            f"{self._trained / self._seconds:,.0f} rewards learnt; learning was under way "
            f"{self._learning / self._seconds:.0%} of the time"
        )

    def _repeat(self, what: Callable[[ServiceClient], None], stop: threading.Event) -> None:
        from decision.demo.client import ServiceClient  # noqa: PLC0415 - as above

        client = ServiceClient(self._base_url, self._key)
        try:
            while not stop.is_set():
                what(client)
        except Exception as error:  # noqa: BLE001 - carried over to the thread that measures
            self._failures.append(error)
        finally:
            client.close()

    def _execute(self, client: ServiceClient) -> None:
        advanced = int(client.run("deliver")["done"].get("advanced", 0))
        self._advanced += advanced
        if not advanced:
            self._step(client)

    def _learn(self, client: ServiceClient) -> None:
        """Learn what matured, and meanwhile let mature what is to be learnt next."""
        self._step(client)
        maturing = self._beside.submit(client.run, "reward")
        started = time.perf_counter()
        trained = int(client.run("learn")["trained"])
        if trained > self._trained:
            self._trained = trained
            self._learning += time.perf_counter() - started
        maturing.result()

    def _step(self, client: ServiceClient) -> None:
        with self._moving:
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
