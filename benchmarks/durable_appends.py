"""How many facts a second the writer makes durable, against the bare driver."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

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

ROWS = 16_384
BARE_BATCH = 32
# Threads that submit, and pieces of work that each has under way: as many callers as a busy service has.
SUBMITTERS = 8
UNDER_WAY = 32
REPEATS = 7


def measure(folder: Path, _say: Say) -> Sequence[Pair]:
    """Return pairs of rows a second; every measurement starts from an empty database."""
    new = orders(ROWS)
    fresh = (folder / str(number) for number in itertools.count())

    def next_folder() -> Path:
        target = next(fresh)
        target.mkdir()
        return target

    return alternate(
        lambda: through_the_writer(next_folder(), new), lambda: past_it(next_folder(), new), REPEATS
    )


def through_the_writer(folder: Path, new: Sequence[Order]) -> float:
    """Append every order by itself from `SUBMITTERS` threads; return durable rows a second."""
    with opened(folder) as database:

        def submit(share: Sequence[Order]) -> None:
            waiting: deque[Future[None]] = deque()
            for order in share:
                if len(waiting) == UNDER_WAY:
                    waiting.popleft().result()
                waiting.append(database.writer.submit(appending(order)))
            for future in waiting:
                future.result()

        shares = [new[number::SUBMITTERS] for number in range(SUBMITTERS)]
        with ThreadPoolExecutor(SUBMITTERS) as pool:
            started = time.perf_counter()
            list(pool.map(submit, shares))
            seconds = time.perf_counter() - started
        with database.read() as connection:
            check_count(count(connection), len(new))
    return len(new) / seconds


def past_it(folder: Path, new: Sequence[Order]) -> float:
    """Insert the same rows by `executemany`, `BARE_BATCH` in a transaction; return durable rows a second."""
    rows = plain_rows(new)
    with bare_connection(folder) as connection:
        started = time.perf_counter()
        for start in range(0, len(rows), BARE_BATCH):
            insert_together(connection, rows[start : start + BARE_BATCH])
        seconds = time.perf_counter() - started
        check_count(count(connection), len(new))
    return len(new) / seconds


DURABLE_APPENDS = Benchmark(
    name="durable_appends",
    measures="Facts made durable one by one through the writer by many callers at once.",
    against=f"Bare `executemany` of ready rows, {BARE_BATCH} a commit, same table, indexes and durability.",
    unit="rows/s",
    bound=Bound("ratio", ">=", 0.6),
    run=measure,
)
