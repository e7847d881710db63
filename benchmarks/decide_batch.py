"""How many decisions a batch makes durable in a second of one core.

Seconds are those of the process's own work, so that what else runs on the machine does not count; waiting for
the disk does not either, which on one core is the time of whoever else has work.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.appends import bare_connection, insert_together
from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.decide_in_process import rows_of
from benchmarks.durable_appends import BARE_BATCH
from benchmarks.errors import BenchmarkError
from benchmarks.shop import PLACEMENT, opened_shop, users

if TYPE_CHECKING:
    from decision.decider import Decider

USERS = 2_000
REPEATS = 5


def measure(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of decisions a second of work."""
    from decision.batch import decide_batch  # noqa: PLC0415 - imports Feast, seconds

    asked = users(USERS)
    say(f"makes a shop of {USERS} users")
    with opened_shop(folder / "data", USERS) as service, bare_connection(folder) as connection:
        records = [
            service.decisions.recorded(service.decider.decide(user_id, PLACEMENT).decision_id)
            for user_id in asked[:300]
        ]
        repeat = iter(range(1_000))

        def subject() -> float:
            with _one_core():
                return _rate(service.decider, asked)

        def bare() -> float:
            rows = list(islice(rows_of(records, next(repeat)), USERS))
            with _one_core():
                started = time.process_time()
                for start in range(0, len(rows), BARE_BATCH):
                    insert_together(connection, rows[start : start + BARE_BATCH])
                return len(rows) / (time.process_time() - started)

        def _rate(decider: Decider, whom: Sequence[str]) -> float:
            started = time.process_time()
            done = decide_batch(decider, whom, PLACEMENT, lambda _users, _answers: None)
            seconds = time.process_time() - started
            if done.fallbacks or done.decisions != len(whom):
                raise BenchmarkError(f"the batch made {done}; the measurement is void")
            return done.decisions / seconds

        return alternate(subject, bare, REPEATS)


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep all threads of this process on one core."""
    threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
    before = {thread: os.sched_getaffinity(thread) for thread in threads}
    core = {max(os.sched_getaffinity(0))}
    for thread in before:
        os.sched_setaffinity(thread, core)
    try:
        yield
    finally:
        for thread, cores in before.items():
            os.sched_setaffinity(thread, cores)


DECIDE_BATCH = Benchmark(
    name="decide_batch",
    measures=f"A batch over {USERS} users, 40 arms, in a second of one core's work: features to record.",
    against=f"Bare `executemany` of the same records alone, {BARE_BATCH} a commit.",
    unit="decisions/s",
    bound=Bound("value", ">=", 4000),
    run=measure,
)
