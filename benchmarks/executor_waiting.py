"""Whether an enrolment that is due costs the same however many others wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.budget_exact import postgres
from benchmarks.transitions import NOW, ROUND, by_executor, rate
from benchmarks.waiting import fill_waiting
from storage.engine import Database

FEW, MANY = 100_000, 10_000_000
DUE, REPEATS = 2_000, 5


def measure(many: int, kind: str, folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of microseconds for each due enrolment: among `many` and among `FEW`."""
    with ExitStack() as opened:
        found: list[Callable[[], float]] = []
        for number in (many, FEW):
            database = opened.enter_context(closing(Database(_url(kind, folder, number, opened))))
            started = time.perf_counter()
            fill_waiting(database, number, DUE)
            say(f"{number:,} wait; recorded in {time.perf_counter() - started:,.0f} s")
            found.append(_rounds(database))
        subject, floor = found
        return alternate(subject, floor, REPEATS)


def _url(kind: str, folder: Path, number: int, opened: ExitStack) -> str:
    target = folder / f"waiting_{number}"
    target.mkdir(exist_ok=True)
    if kind == "sqlite":
        return f"sqlite:///{target / 'waiting.db'}"
    return opened.enter_context(postgres(target))


def _rounds(database: Database) -> Callable[[], float]:
    moments = (NOW + number * ROUND for number in count())
    return lambda: 1e6 / rate(by_executor, database, next(moments), DUE)


def _benchmark(kind: str, where: str) -> Benchmark:
    return Benchmark(
        name=f"executor_waiting_{kind}",
        measures=f"Time for each of {DUE:,} due enrolments, each sending a message, {where}; {MANY:,} wait.",
        against=f"The same while {FEW:,} wait.",
        unit="µs",
        bound=Bound("ratio", "<=", 1.5),
        run=partial(measure, MANY, kind),
        sized=lambda number: partial(measure, number, kind),
    )


EXECUTOR_WAITING_SQLITE = _benchmark("sqlite", "on SQLite")
EXECUTOR_WAITING_POSTGRES = _benchmark("postgres", "on Postgres")
