"""Threads that compute stand aside while their process has its turn to write.

Python's lock goes back and forth with each row that SQLite writes. To a thread that only computes it comes
back late, again and again, so that a turn of one millisecond takes five, in which customers of the process
that lends the turns wait as well (`storage.turns`). Work that nobody waits for asks here between two steps.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

# Whoever stands aside goes on after so many seconds, whatever the others do.
_PATIENCE = 0.02

_nobody_writes = threading.Event()
_nobody_writes.set()
# Threads whose turn it is: what they do in it waits for nobody.
_writing: set[int] = set()


@contextmanager
def turn_under_way() -> Iterator[None]:
    """Let others stand aside for the length of the block; a process has one turn at a time."""
    own = threading.get_ident()
    _writing.add(own)
    _nobody_writes.clear()
    try:
        yield
    finally:
        _nobody_writes.set()
        _writing.discard(own)


def stand_aside() -> None:
    """Wait until the turn that is under way has ended, if there is one, for 20 ms at most."""
    if not _nobody_writes.is_set() and threading.get_ident() not in _writing:
        _nobody_writes.wait(_PATIENCE)


def aside(rows: Iterable[T]) -> Iterator[T]:
    """Yield rows one by one, each once no turn is under way: a driver holds the lock as it makes them."""
    for row in rows:
        stand_aside()
        yield row
