"""Who goes first where the processor is short, by how nice threads and processes are.

First whoever everybody waits for: on SQLite the thread that writes, in its turn that of the jobs too. Then
requests, then jobs; the learner, nicer than they by more, takes what is left.
"""

from __future__ import annotations

import os
import sys

# On one processor the loop of requests and the writer take it from each other: with 3 the writer waits for it
# a third less. No nicer than need be: other programs of the machine go before whoever is.
_REQUESTS, _JOBS = 2, 5


def requests_after_the_writer() -> None:
    """Give way with this thread, and those that it starts, to the threads that run by now."""
    # Elsewhere niceness is a process's, and the writer would give way as well.
    if sys.platform == "linux":
        os.nice(_REQUESTS)


def jobs_after_requests() -> None:
    """Give way with this thread, and those it starts; on Linux the writer, which runs by now, does not."""
    os.nice(_JOBS)
