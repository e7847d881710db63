"""From ledger rows to a published version, by two processes and by one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from benchmarks.errors import BenchmarkError
from benchmarks.learner_throughput import CATEGORIES, NOW, REPEATS, SEED, Shop, opened_shop, vocabularies
from learning.shards import InProcesses
from learning.training import Start, Training
from learning.versions import PolicyVersion

# Decisions that two processes share.
SHARED = 80_000
# The fact up to which rewards are learnt before it is measured: a few pages of them.
_FIRST = 4_000


def shards(folder: Path, say: Say) -> Sequence[Pair]:
    """Return decisions a second, from the ledger to a published version, by two processes and by one."""
    say(f"seed {SEED}, {SHARED:,} decisions of {len(CATEGORIES)} arms each")
    pairs = []
    with opened_shop(folder, SHARED) as shop, closing(InProcesses(2)) as processes:
        for repeat in range(REPEATS + 1):
            together, shared = _elapsed(shop, processes)
            alone, single = _elapsed(shop, None)
            if (shared.shards, single.shards) != (2, 1):
                raise BenchmarkError("the processes did not share; the measurement is void")
            # The first reads what the machine has not read yet.
            if repeat:
                say(f"two processes {together:.2f} s, one {alone:.2f} s")
                pairs.append(Pair(SHARED / together, SHARED / alone))
    return pairs


class _KeptOpen:
    """Processes that learn for one training after the other."""

    def __init__(self, processes: InProcesses) -> None:
        self.number = processes.number
        self.teach = processes.teach

    def close(self) -> None:
        """Others go on with them."""


def _elapsed(shop: Shop, processes: InProcesses | None) -> tuple[float, PolicyVersion]:
    """Return the seconds until the version was published, and the version."""
    spec = shop.spec.model_copy(update={"id": f"p{time.monotonic_ns()}"})
    sharing = None if processes is None else _KeptOpen(processes)
    training = Training(shop.database, spec, vocabularies(), sharing=sharing)
    try:
        training.in_charge(NOW)
        # Processes start with a policy's first rewards, and once.
        list(training.folds(Start(0, None), _FIRST, shards=2 if processes else 1))
        before = time.perf_counter()
        version = training.learn(NOW + timedelta(days=1))
        return time.perf_counter() - before, version
    finally:
        training.close()


LEARNER_SHARDS = Benchmark(
    name="learner_shards",
    measures=f"{SHARED:,} decisions of 40 arms learnt by VW in two shards, each by a process, a second of "
    "time from rows of the ledger to a published version.",
    against="The same by one process. Both need two cores that nobody else uses.",
    unit="decisions/s",
    bound=Bound("ratio", ">=", 1.5),
    run=shards,
)
