"""How many transitions a second the executor makes, on SQLite and by two workers on Postgres."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.budget_exact import postgres
from benchmarks.errors import BenchmarkError
from benchmarks.transitions import NOW, ROUND, bare, by_executor, fill, rate
from benchmarks.waiting import fill_waiting
from storage.engine import Database

DUE, REPEATS = 20_000, 5
# Of those that wait on Postgres every twentieth is due at a time.
WAITING, ON_POSTGRES, WORKERS, REPEATS_ON_POSTGRES = 2_000_000, 100_000, 2, 3
_WAYS = {"executor": by_executor, "bare": bare}


def sqlite(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of transitions a second on a SQLite file each."""
    say(f"{DUE:,} enrolments wait in each of two files")
    with ExitStack() as opened:
        databases = [
            opened.enter_context(closing(Database(f"sqlite:///{folder / name}.db"))) for name in _WAYS
        ]
        for database in databases:
            fill(database, DUE)
        ours, theirs = databases
        return alternate(
            _rounds(lambda at: rate(by_executor, ours, at, DUE)),
            _rounds(lambda at: rate(bare, theirs, at, DUE)),
            REPEATS,
        )


def on_postgres(waiting: int, folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of transitions a second of two processes over one Postgres where so many wait."""
    due = waiting * ON_POSTGRES // WAITING
    say(f"{waiting:,} enrolments wait, {due:,} of them are due at a time")
    with postgres(folder) as url:
        with closing(Database(url)) as database:
            fill_waiting(database, waiting, due)
        moments = (NOW + number * ROUND for number in count())
        return alternate(
            lambda: _by_workers("executor", url, next(moments), due),
            lambda: _by_workers("bare", url, next(moments), due),
            REPEATS_ON_POSTGRES,
        )


def _rounds(measure: Callable[[datetime], float]) -> Callable[[], float]:
    """Return what measures one round after the other."""
    moments = (NOW + number * ROUND for number in count())
    return lambda: measure(next(moments))


def _by_workers(way: str, url: str, at: datetime, due: int) -> float:
    """Let workers do a round; return transitions a second from their common start to the last one's end."""
    command = [sys.executable, "-m", "benchmarks.executor_transitions", way, url, at.isoformat()]
    with ExitStack() as opened:
        workers = [
            opened.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
            )
            for _ in range(WORKERS)
        ]
        for one in workers:
            _line(one)
        for one in workers:
            assert one.stdin is not None  # noqa: S101 - asked for above
            one.stdin.write("go\n")
            one.stdin.flush()
        ends = [_line(one).split() for one in workers]
    done = sum(int(number) for number, _ in ends)
    if done != due:
        raise BenchmarkError(f"{done} of {due} enrolments were advanced; the measurement is void")
    return done / max(float(seconds) for _, seconds in ends)


def _line(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None  # noqa: S101 - asked for above
    said = worker.stdout.readline()
    if not said:
        raise BenchmarkError("a worker failed; the measurement is void")
    return said


def _work(way: str, url: str, at: str) -> None:
    """Be a worker: say when ready, then do a round, and say how much was done in how many seconds."""
    with closing(Database(url, create=False)) as database:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        started = time.perf_counter()
        done = _WAYS[way](database, datetime.fromisoformat(at))
        sys.stdout.write(f"{done} {time.perf_counter() - started}\n")


EXECUTOR_SQLITE = Benchmark(
    name="executor_sqlite",
    measures=f"Transitions a second of {DUE:,} due enrolments, each sending a message, on SQLite.",
    against="Bare SQL on the same tables: claim, new state, message, in transactions of 500.",
    unit="transitions/s",
    bound=Bound("ratio", ">=", 0.15),
    run=sqlite,
)
EXECUTOR_POSTGRES = Benchmark(
    name="executor_postgres",
    measures=f"The same of {ON_POSTGRES:,} by {WORKERS} processes on Postgres, where {WAITING:,} wait.",
    against="The same bare SQL by as many processes.",
    unit="transitions/s",
    bound=Bound("ratio", ">=", 0.3),
    run=partial(on_postgres, WAITING),
    sized=lambda waiting: partial(on_postgres, waiting),
)

if __name__ == "__main__":
    _work(*sys.argv[1:])
