"""What a provider that is slow, with an hour's queue, costs: memory, and the latency of other channels."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

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
# The others': messages, and seconds between two of them.
MESSAGES, EVERY = 400, 0.03
REPEATS = 3
# Between two rounds of delivery, as the job of a service leaves.
_PAUSE = 0.05
_BYTES_OF_KB, MB = 1024, 1e6


def measured(folder: Path) -> dict[str, float]:
    """Return the p99 (seconds) of another channel and the memory (bytes) before and with the queue.

    Raises:
        BenchmarkError: the slow provider was not slow, or a message of the others was lost.
    """
    clock = SystemClock()
    arrived: dict[str, float] = {}

    def arrive(message: Message) -> None:
        arrived[message.user_id] = time.perf_counter()

    with (
        running_slow(timedelta(seconds=CONCURRENCY / PER_SECOND)) as port,
        closing(Database(f"sqlite:///{folder / 'slow.db'}")) as database,
    ):
        slow = gateway(database, f"http://127.0.0.1:{port}/")
        delivery = Delivery(
            database,
            clock,
            plans("slow", "fast"),
            {"slow": slow, "fast": MemoryChannel(before=arrive)},
            lambda *_: None,
            addresses=Phones(),
            management={"slow": Management(concurrency=CONCURRENCY)},
            patience=0.25,
        )
        stopping = threading.Event()
        done = Report()

        def deliver() -> None:
            nonlocal done
            while not stopping.is_set():
                done += delivery.run_until_idle()
                stopping.wait(_PAUSE)

        thread = threading.Thread(target=deliver)
        thread.start()
        try:
            fast = partial(begin, database, clock, delivery, 2)
            # As many messages as will wait: pages of the database fill its caches whatever is slow.
            fast([f"before{number:05}" for number in range(QUEUE)])
            _wait_until(lambda: len(arrived) == QUEUE)
            alone = _latencies("alone", fast, arrived)
            before = _resident()
            begin(database, clock, delivery, 1, [f"slow{number:05}" for number in range(QUEUE)])
            # Not by looking into the database: that would bring its pages into memory.
            _wait_until(lambda: done.queued == 2 * QUEUE + MESSAGES)
            beside = _latencies("beside", fast, arrived)
            after = _resident()
        finally:
            stopping.set()
            thread.join()
            delivery.stop()
            delivery.finish(10.0)
        if done.sent - len(arrived) > QUEUE // 2:
            raise BenchmarkError("the provider was not slow")
    return {"alone": alone, "beside": beside, "before": before, "after": after}


def _latencies(name: str, begin_: Callable[[Sequence[str]], None], arrived: dict[str, float]) -> float:
    """Let messages be wanted one by one; return the p99 of the seconds from then until they went out."""
    wanted: dict[str, float] = {}
    for number in range(MESSAGES):
        user = f"{name}{number}"
        wanted[user] = time.perf_counter()
        begin_([user])
        time.sleep(EVERY)
    _wait_until(lambda: all(user in arrived for user in wanted))
    return statistics.quantiles([arrived[user] - at for user, at in wanted.items()], n=100)[98]


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


def _apart(folder: Path, number: int) -> dict[str, float]:
    """Measure in a process of its own: memory that was used once is not given back."""
    target = folder / str(number)
    target.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.slow_provider", str(target)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure_memory(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of megabytes: with the queue and before it."""
    pairs = []
    for number in range(REPEATS):
        found = _apart(folder, number)
        say(f"p99 of the others {1e3 * found['alone']:,.0f} ms, then {1e3 * found['beside']:,.0f} ms")
        pairs.append(Pair(found["after"] / MB, found["before"] / MB))
    return pairs


def measure_others(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of milliseconds: the others' p99 beside the queue and without it."""
    pairs = []
    for number in range(REPEATS):
        found = _apart(folder, number)
        say(f"{found['before'] / MB:,.0f} MB, then {found['after'] / MB:,.0f} MB")
        pairs.append(Pair(1e3 * found["beside"], 1e3 * found["alone"]))
    return pairs


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
    against="The same before they were wanted.",
    unit="ms",
    bound=Bound("ratio", "<=", 1.2),
    run=measure_others,
)

if __name__ == "__main__":
    sys.stdout.write(json.dumps(measured(Path(sys.argv[1]))))
