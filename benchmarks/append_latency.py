"""How long a caller of the writer waits for durability while half of what it can do is asked of it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from benchmarks.appends import (
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
from benchmarks.schedule import Latencies, Schedule, summarise

SECONDS = 2.0
# Enough to last about as long as the measurement: what is reached for a moment can't be kept up.
CAPACITY_ROWS = 60_000
# Shortest pause of the sender, which then sends all that fell due: waking up for each would cost more.
_TICK = 0.0005
REPEATS = 5


def measure(folder: Path, say: Say) -> Sequence[Pair]:
    """Measure the capacity, then return pairs of p99 in milliseconds at half of it."""
    capacities = []
    for number in range(3):
        target = folder / f"capacity-{number}"
        target.mkdir()
        capacities.append(through_the_writer(target, orders(CAPACITY_ROWS)))
    rate = sorted(capacities)[1] / 2
    schedule = Schedule(rate, int(rate * SECONDS))
    say(f"at {rate:,.0f} facts a second, half of the measured capacity")
    places = iter(range(1_000))

    def p99(load: Callable[[Path, Schedule], Latencies]) -> float:
        target = folder / str(next(places))
        target.mkdir()
        return load(target, schedule).p99

    return alternate(lambda: p99(through_the_writer_on_time), lambda: p99(past_it_on_time), REPEATS)


def through_the_writer_on_time(folder: Path, schedule: Schedule) -> Latencies:
    """Append facts through the writer by a schedule; latencies end when a future is done."""
    new = orders(schedule.number)
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


def past_it_on_time(folder: Path, schedule: Schedule) -> Latencies:
    """Hand ready rows by the same schedule to a thread that inserts all there is in one transaction."""
    rows = plain_rows(orders(schedule.number))
    timing = _Timing(schedule)
    waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    with bare_connection(folder) as connection:

        def write() -> None:
            while (taken := _take_all(waiting)) is not None:
                insert_together(connection, [rows[index] for index in taken])
                for index in taken:
                    timing.finished(index)

        thread = threading.Thread(target=write)
        thread.start()
        timing.keep(waiting.put)
        waiting.put(None)
        thread.join()
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
        """Call `send` with each index when it is due, then wait until all are finished."""
        self._started = time.perf_counter()
        for index in range(self._schedule.number):
            early = self._schedule.due(index) - self._now()
            if early > 0:
                time.sleep(max(early, _TICK))
            self._late = max(self._late, self._now() - self._schedule.due(index))
            send(index)
        self._all_done.wait()

    def finished(self, index: int) -> None:
        self._ended = self._now()
        self._latencies.append(self._ended - self._schedule.due(index))
        if len(self._latencies) == self._schedule.number:
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
