"""Sets a process that measures like the one that serves, where what is measured runs in the same process."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from storage import collecting


@contextmanager
def like_a_server() -> Iterator[None]:
    """Set collection and threads as `nextplay serve` does, for the length of the block.

    A load that lies ready in memory is a million objects: looking through them takes half a second, which
    what writes it would be charged for. A server looks through nothing that was there when it began.
    """
    from decision.cli import SWITCH_SECONDS  # noqa: PLC0415 - all commands, needed here only

    threshold, switch = gc.get_threshold(), sys.getswitchinterval()
    collecting.settle()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(switch)
        gc.set_threshold(*threshold)
        gc.unfreeze()
