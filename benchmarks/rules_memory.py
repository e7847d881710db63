"""How much memory a hundred rules over five million users take, in a process that does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from benchmarks.rules_columns import RULES, THREADS, USERS

REPEATS = 3
RESIDENT_LIMIT_MB = 1_000  # ids, columns and two generations of bits
MB = 1e6

# In a process of its own: a peak can't be taken back. Users come in parts, as from a file. The peak is that
# of the program itself (VmHWM): what getrusage tells begins with the peak of the process that started it.
_MEASURED = """
import json, re, sys
from pathlib import Path
import numpy as np
from audiences.rules import Columns, compile_columns
from benchmarks import people

users, rules, threads = map(int, sys.argv[1:])
ids = people.ids(users).copy()
columns = Columns.joined([Columns.from_arrow(people.people(users // 10, seed=part)) for part in range(10)])
answers = compile_columns(people.rules(rules))
generations = [answers(columns, now=people.NOW, threads=threads) for _ in range(2)]
resident = ids.nbytes + columns.nbytes + sum(bits.nbytes for bits in generations)
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print(json.dumps({"resident": resident, "peak": peak}))
"""


def measure(_folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of megabytes: the largest the process ever was, and the arrays it must keep."""
    pairs = []
    for _ in range(REPEATS):
        command = [sys.executable, "-c", _MEASURED, *map(str, (USERS, RULES, THREADS))]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own
        found = json.loads(done.stdout)
        resident = found["resident"] / MB
        say(f"arrays {resident:,.0f} MB of at most {RESIDENT_LIMIT_MB:,}")
        pairs.append(Pair(found["peak"] / MB, resident))
    return pairs


RULES_MEMORY = Benchmark(
    name="rules_memory",
    measures=f"The largest a process gets that keeps {USERS:,} users and answers {RULES} rules twice.",
    against=f"The arrays: 16-byte ids, columns, two generations of bits; {RESIDENT_LIMIT_MB:,} MB at most.",
    unit="MB",
    bound=Bound("value", "<=", 1_500),
    run=measure,
)
