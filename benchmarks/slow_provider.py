"""What a provider that is slow, with an hour's queue, costs: memory, and the latency of other channels."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from benchmarks.errors import BenchmarkError
from benchmarks.handing_over import Phones, begin, gateway, plans, running_slow
from delivery.channels.management import Management
from delivery.models import Message, Report
from delivery.service import Delivery
from delivery.testing import MemoryChannel
from storage.clock import SystemClock
from storage.engine import Database

# Ten messages a second, an hour's worth of them.
CONCURRENCY, PER_SECOND, QUEUE = 4, 10, 36_000
# The others': messages of a stretch, stretches of a pair, and seconds between two messages.
MESSAGES, STRETCHES, EVERY = 50, 8, 0.03
REPEATS = 3
# Between two rounds of delivery, as the job of a service leaves.
_PAUSE = 0.05
_BYTES_OF_KB, MB = 1024, 1e6


class _Delivering:
    """A process that delivers on two channels, of which one is slow."""

    def __init__(self, database: Database, port: int) -> None:
        self._database, self._clock = database, SystemClock()
        self._arrived: dict[str, float] = {}
        self._stopping = threading.Event()
        self._done = Report()
        self._delivery = Delivery(
            database,
            self._clock,
            plans("slow", "fast"),
            {
                "slow": gateway(database, f"http://127.0.0.1:{port}/"),
                "fast": MemoryChannel(before=self._arrive),
            },
            lambda *_: None,
            addresses=Phones(),
            management={"slow": Management(concurrency=CONCURRENCY)},
            patience=0.25,
        )
        self._thread = threading.Thread(target=self._deliver)
        self._thread.start()

    def send(self, number: int) -> None:
        """Deliver as many messages as will wait: pages of the database fill its caches whatever is slow."""
        self._begin(2, [f"before{one:05}" for one in range(number)])
        _wait_until(lambda: len(self._arrived) == number)

    def queue(self, number: int) -> None:
        """Let messages wait for the slow provider."""
        already = self._done.queued
        self._begin(1, [f"slow{one:05}" for one in range(number)])
        # Not by looking into the database: that would bring its pages into memory.
        _wait_until(lambda: self._done.queued == already + number)

    def latencies(self, name: str, number: int) -> list[float]:
        """Let messages be wanted one by one; return the seconds from then until each went out."""
        wanted: dict[str, float] = {}
        for one in range(number):
            user = f"{name}{one}"
            wanted[user] = time.perf_counter()
            self._begin(2, [user])
            time.sleep(EVERY)
        _wait_until(lambda: all(user in self._arrived for user in wanted))
        return [self._arrived[user] - at for user, at in wanted.items()]

    def end(self) -> None:
        """Stop.

        Raises:
            BenchmarkError: the slow provider was not slow.
        """
        self._stopping.set()
        self._thread.join()
        self._delivery.stop()
        self._delivery.finish(10.0)
        if self._done.sent - len(self._arrived) > QUEUE // 2:
            raise BenchmarkError("the provider was not slow")

    def _arrive(self, message: Message) -> None:
        self._arrived[message.user_id] = time.perf_counter()

    def _begin(self, version: int, users: Sequence[str]) -> None:
        begin(self._database, self._clock, self._delivery, version, users)

    def _deliver(self) -> None:
        while not self._stopping.is_set():
            self._done += self._delivery.run_until_idle()
            self._stopping.wait(_PAUSE)


def _serve(folder: Path) -> None:
    """Do what is asked for, a line of JSON each, and answer with another."""
    with (
        running_slow(timedelta(seconds=CONCURRENCY / PER_SECOND)) as port,
        closing(Database(f"sqlite:///{folder / 'slow.db'}")) as database,
    ):
        delivering = _Delivering(database, port)
        do: dict[str, Callable[..., object]] = {
            "send": delivering.send,
            "queue": delivering.queue,
            "latencies": delivering.latencies,
            "resident": _resident,
        }
        try:
            for line in sys.stdin:
                what, *how = json.loads(line)
                sys.stdout.write(json.dumps(do[what](*how)) + "\n")
                sys.stdout.flush()
        finally:
            delivering.end()


def _wait_until(true: Callable[[], bool], seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise BenchmarkError("messages were lost, or the machine is far too busy")
        time.sleep(0.01)


def _resident() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1]) * _BYTES_OF_KB
    raise BenchmarkError("this machine does not tell how much memory a process has")


class _Apart:
    """One such process, from the outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, *what: object) -> Any:
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError("a process that delivers has ended")
        return json.loads(line)

    def rest(self) -> None:
        """Let it do nothing at all while another is measured."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def _apart(folder: Path) -> Iterator[_Apart]:
    """Run one that has delivered `QUEUE` messages, by itself: what memory was used is not given back."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.slow_provider", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        apart = _Apart(process)
        try:
            apart.ask("send", QUEUE)
            yield apart
        finally:
            apart.go_on()
            process.communicate()


def measure_memory(folder: Path, _say: Say) -> Sequence[Pair]:
    """Return pairs of megabytes: with the queue and before it."""
    pairs = []
    for number in range(REPEATS):
        with _apart(folder / str(number)) as process:
            before = process.ask("resident")
            process.ask("queue", QUEUE)
            process.ask("latencies", "beside", MESSAGES)
            pairs.append(Pair(process.ask("resident") / MB, before / MB))
    return pairs


def measure_others(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of milliseconds: the others' p99 beside the queue, and in a process without it.

    Both are measured in short stretches by turns, while the other one rests: on a shared machine what comes
    one minute after the other is not alike.
    """
    with _apart(folder / "without") as without, _apart(folder / "beside") as beside:
        beside.ask("queue", QUEUE)
        pairs = []
        for number in range(REPEATS):
            found: dict[_Apart, list[float]] = {without: [], beside: []}
            for stretch in range(STRETCHES):
                turns = (without, beside) if stretch % 2 else (beside, without)
                for one, other in (turns, turns[::-1]):
                    other.rest()
                    name = f"{number}-{stretch}-"
                    found[one] += one.ask("latencies", name, MESSAGES)
                    other.go_on()
            pairs.append(Pair(1e3 * _p99(found[beside]), 1e3 * _p99(found[without])))
            medians = [1e3 * statistics.median(found[one]) for one in (beside, without)]
            say(f"medians {medians[0]:,.0f} ms beside the queue, {medians[1]:,.0f} ms without it")
    return pairs


def _p99(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


_WHAT = f"a provider of {PER_SECOND} messages/s that {QUEUE:,} messages wait for"

SLOW_PROVIDER_MEMORY = Benchmark(
    name="slow_provider_memory",
    measures=f"Memory of a process that delivers, with {_WHAT}.",
    against=f"The same process before, when it had delivered {QUEUE:,} others.",
    unit="MB",
    bound=Bound("ratio", "<=", 1.05),
    run=measure_memory,
)
SLOW_PROVIDER_OTHERS = Benchmark(
    name="slow_provider_others",
    measures=f"p99 from a wish to the hand-over on another channel, beside {_WHAT}.",
    against="The same in another process without them, by turns.",
    unit="ms",
    bound=Bound("ratio", "<=", 1.2),
    run=measure_others,
)

if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
