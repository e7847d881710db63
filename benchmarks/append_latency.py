"""How long a caller of the writer waits for durability while half of what it can do is asked of it."""

from __future__ import annotations

import queue
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.appends import (
    Order,
    appending,
    bare_connection,
    check_count,
    count,
    insert_together,
    opened,
    orders,
    plain_rows,
)
from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.durable_appends import through_the_writer
from benchmarks.errors import BenchmarkError
from benchmarks.schedule import Latencies, Schedule, summarise
from benchmarks.serving import like_a_server

SECONDS = 2.0
CAPACITIES = 3
# Enough to last about as long as the measurement: what is reached for a moment can't be kept up.
CAPACITY_ROWS = 60_000
# Shortest pause of the sender, which then sends all that fell due: waking up for each would cost more.
_TICK = 0.0005
REPEATS = 7
# What was sent has so many seconds more to become durable.
_PATIENCE_SECONDS = 30.0


def measure(folder: Path, say: Say) -> Sequence[Pair]:
    """Measure the capacity, then return pairs of p99 in milliseconds at half of it."""
    places = iter(range(1_000))

    def fresh() -> Path:
        target = folder / str(next(places))
        target.mkdir()
        return target

    new = orders(CAPACITY_ROWS)
    with like_a_server():
        rate = statistics.median(through_the_writer(fresh(), new) for _ in range(CAPACITIES)) / 2
        # No more than there are: on a very fast machine the load ends sooner.
        schedule = Schedule(rate, min(int(rate * SECONDS), CAPACITY_ROWS))
        say(f"at {rate:,.0f} facts a second, half of the measured capacity")
        del new[schedule.number :]
        rows = plain_rows(new)

        def told(side: str, latencies: Latencies) -> float:
            say(
                f"{side}: p50 {latencies.p50:.1f}, p99 {latencies.p99:.1f}, at most {latencies.max:.1f} ms; "
                f"sent {latencies.late:.1f} ms late at most"
            )
            return latencies.p99

        return alternate(
            lambda: told("writer", through_the_writer_on_time(fresh(), schedule, new)),
            lambda: told("floor", past_it_on_time(fresh(), schedule, rows)),
            REPEATS,
        )


def through_the_writer_on_time(folder: Path, schedule: Schedule, new: Sequence[Order]) -> Latencies:
    """Append facts through the writer by a schedule; latencies end when a future is done."""
    timing = _Timing(schedule)
    with opened(folder) as database:

        def send(index: int) -> None:
            def done(_: Future[None]) -> None:
                timing.finished(index)

            database.writer.submit(appending(new[index])).add_done_callback(done)

        timing.keep(send)
        with database.read() as connection:
            check_count(count(connection), schedule.number)
    return timing.latencies()


def past_it_on_time(folder: Path, schedule: Schedule, rows: Sequence[tuple[Any, ...]]) -> Latencies:
    """Hand ready rows by the same schedule to a thread that inserts all there is in one transaction."""
    timing = _Timing(schedule)
    waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    with bare_connection(folder) as connection:

        def write() -> None:
            while (taken := _take_all(waiting)) is not None:
                insert_together(connection, [rows[index] for index in taken])
                for index in taken:
                    timing.finished(index)

        # Of what fails here the other side hears at once, instead of waiting for the rest.
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            writing.add_done_callback(lambda _: timing.ended())
            timing.keep(waiting.put)
            waiting.put(None)
            writing.result()
        check_count(count(connection), schedule.number)
    return timing.latencies()


class _Timing:
    """Sends by a schedule from the calling thread, and notes from any thread when each was done."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._latencies: list[float] = []
        self._all_done = threading.Event()
        self._late = self._started = self._ended = 0.0

    def keep(self, send: Callable[[int], Any]) -> None:
        """Call `send` with each index when it is due, then wait until all are finished.

        Raises:
            BenchmarkError: they never were.
        """
        self._started = time.perf_counter()
        for index in range(self._schedule.number):
            early = self._schedule.due(index) - self._now()
            if early > 0:
                time.sleep(max(early, _TICK))
            self._late = max(self._late, self._now() - self._schedule.due(index))
            send(index)
        if not self._all_done.wait(_PATIENCE_SECONDS):
            left = self._schedule.number - len(self._latencies)
            raise BenchmarkError(f"{left} facts were not durable after {_PATIENCE_SECONDS:g} s more")

    def finished(self, index: int) -> None:
        self._ended = self._now()
        self._latencies.append(self._ended - self._schedule.due(index))
        if len(self._latencies) == self._schedule.number:
            self._all_done.set()

    def ended(self) -> None:
        """Nothing more will be finished."""
        self._all_done.set()

    def latencies(self) -> Latencies:
        return summarise(self._latencies, errors=0, elapsed=self._ended, late=self._late)

    def _now(self) -> float:
        return time.perf_counter() - self._started


def _take_all(waiting: queue.SimpleQueue[int | None]) -> list[int] | None:
    """Return what waits, at least one; None when nothing more comes."""
    first = waiting.get()
    if first is None:
        return None
    taken = [first]
    while not waiting.empty():
        following = waiting.get()
        if following is None:
            waiting.put(None)
            break
        taken.append(following)
    return taken


APPEND_LATENCY = Benchmark(
    name="append_latency",
    measures="p99 from a fact's scheduled time until it is durable, at half of the writer's capacity.",
    against="The same rows at the same times, handed to a bare thread that inserts all that waits at once.",
    unit="ms",
    bound=Bound("value", "<=", 10),
    run=measure,
)
