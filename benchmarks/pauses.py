"""How much a machine takes its cores away from who runs on them: for other processes, or for other machines.

Where several virtual machines share a processor, one of them may stand still for tens of milliseconds and
know nothing of it but that time has passed. No latency below that can be promised of what runs there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import msgspec

# For so many seconds each core is watched.
SECONDS = 0.5
# Runs alone on one core and looks at the clock without pause; whatever it misses was taken away.
_WATCH = """
import os, sys, time
core, seconds, least = int(sys.argv[1]), float(sys.argv[2]), 1e-3
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})
longest = total = 0.0
begin = last = time.perf_counter()
while last - begin < seconds:
    now = time.perf_counter()
    if now - last > least:
        longest, total = max(longest, now - last), total + now - last
    last = now
print(longest, total / (last - begin))
"""


class Pauses(msgspec.Struct, frozen=True):
    """What was taken away: the longest pause, in milliseconds, and the share of the time, of the worst core.

    Pauses below a millisecond don't count.
    """

    longest_ms: float
    share: float


def watch(seconds: float = SECONDS) -> Pauses:
    """Watch all cores at once; nothing else should run meanwhile."""
    watchers = [
        subprocess.Popen(  # noqa: S603 - our own interpreter and script
            [sys.executable, "-I", "-c", _WATCH, str(core), str(seconds)], stdout=subprocess.PIPE, text=True
        )
        for core in _cores()
    ]
    seen = [list(map(float, watcher.communicate()[0].split())) for watcher in watchers]
    return Pauses(
        longest_ms=round(max(longest for longest, _ in seen) * 1e3, 1),
        share=round(max(share for _, share in seen), 3),
    )


def _cores() -> Sequence[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)
