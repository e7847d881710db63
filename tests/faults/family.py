"""Who a process has started, asked of the system for that process alone.

Looking through all processes of the machine, as psutil does, takes some milliseconds: too long every ten.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children, whichever of its threads started them; none if it is gone."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            # One that has ended meanwhile leaves its children to another.
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (thread / "children").read_text().split())
    return found


def descendants_of(pid: int) -> list[int]:
    """Return the ids of all that a process and those it started have started."""
    children = children_of(pid)
    return [*children, *(further for child in children for further in descendants_of(child))]


def kill_running(module: str, below: int) -> bool:
    """Kill whoever runs a module below a process; says whether there was one."""
    killed = False
    for pid in descendants_of(below):
        with suppress(FileNotFoundError, ProcessLookupError):
            if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
                killed = True
    return killed
