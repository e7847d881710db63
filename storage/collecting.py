"""When Python looks for garbage in processes that serve; in one that is lent turns to write: between them.

A full collection looks through everything there is, tens of milliseconds in which no thread of its process
runs. One that falls into a turn (`storage.turns`) keeps the customers of the process that lends it waiting:
at 200 requests a second two of them in two seconds were all there was above the 97th percentile.
"""

from __future__ import annotations

import gc

# Objects more than at the last time that make the collector look through the young ones: more than requests
# that are under way have, which leave no cycles behind. Each look of the default, at 700, keeps them waiting.
YOUNG_OBJECTS = 10_000
# Collections of the middle generation that make a full one due, as by default.
_DUE = 10
# So many make Python begin one by itself, where nobody writes for long.
_OVERDUE = 100


def settle() -> None:
    """Never look through what is there now: that takes longer than a request may."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def between_turns() -> None:
    """Do as `settle` does, and let this process do full collections when `due` says so."""
    settle()
    gc.set_threshold(YOUNG_OBJECTS, _DUE, _OVERDUE)


def due() -> bool:
    """Whether a full collection should be made before the next turn is asked for."""
    return gc.get_threshold()[2] == _OVERDUE and gc.get_count()[2] > _DUE
