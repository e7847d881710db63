"""Takes SQLite's log over into the file beside the writer, instead of in its turns.

By default whichever commit finds 1,000 pages in the log takes them over: two forced writes and all those
pages, for which everybody waits who waits for that commit. A passive checkpoint on a connection of its own
stands in nobody's way (https://sqlite.org/wal.html#ckpt). It forces the log to disk first, so what was
committed without being forced (`storage.writer.Writer.submit`) waits for that a second at most. What is
committed meanwhile stays in the log, and a busy log would grow for ever: past `LOG_PAGES` a commit still
takes over the rest, of which this sees to it that there is little by then, and the log begins anew.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

from sqlalchemy import Engine

# Pages in the log past which a commit takes over what is left.
LOG_PAGES = 16_384
# Pages that are worth taking over. Commits wait for the same disk: with SQLite's own 1,000, every quarter
# of a second, the slowest of a hundred decisions took a third longer, and with more of them still longer.
# With 100 it took twice the processor: pages that change again and again are taken over as often, and each
# time forces the disk twice.
_WORTH = 400
# Seconds between two times, by how much there was at the last.
_SOONEST, _LATEST = 0.02, 1.0
# So many seconds before that commit the log is taken over once more, and from then on so often, that it finds
# little.
_BEFORE_END, _AGAIN = 0.05, 0.02


class Checkpoints:
    """A thread that takes the log of one database over into its file, for as long as it is open."""

    def __init__(self, engine: Engine) -> None:
        """Begin; `engine` gives connections that may write."""
        # Kept for as long as this runs: to take one from the pool costs as much as to take over a few pages.
        self._connection = engine.raw_connection()
        self._taken = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; the last connection to close takes over the rest."""
        self._stopping.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        seconds, wait = _SOONEST, _SOONEST
        while not self._stopping.wait(wait):
            try:
                pages, log = self._take_over()
            except sqlite3.Error:
                # A full disk, most likely. Whoever writes is told of it; commits take over what they must.
                pages, log = 0, 0
            seconds, wait = paced(seconds, wait, pages, log)

    def _take_over(self) -> tuple[int, int]:
        """Take over what is in the log now; returns how many pages that were, and how many it has.

        Where somebody else does so just now, nothing is done, and it has less than none.
        """
        driver: Any = self._connection.driver_connection
        _, log, taken = driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if log < 0:
            return 0, int(log)
        before, self._taken = self._taken, taken
        # Fewer than before: the log began anew.
        return int(taken - before if taken >= before else taken), int(log)


def paced(seconds: float, wait: float, pages: int, log: int) -> tuple[float, float]:
    """Return the pace from now on and how long to wait, by what was taken over after the last wait.

    Args:
        seconds: the pace so far.
        pages: that were taken over.
        log: pages that there are; less than none: a commit was at it, so that the log begins anew.
    """
    if log < 0:
        return seconds, seconds
    fitting = wait * _WORTH / max(pages, 1)
    seconds = min(max(fitting, seconds / 2, _SOONEST), seconds * 2, _LATEST)
    return seconds, min(seconds, until_end(log, pages / wait))


def until_end(log: int, rate: float) -> float:
    """Return for how long to wait, in seconds, so as to be there shortly before a log comes to its end.

    Args:
        log: pages that it has.
        rate: pages that come to it a second.
    """
    if not (rate > 0 and log < LOG_PAGES):
        return _LATEST
    return max((LOG_PAGES - log) / rate - _BEFORE_END, _AGAIN)
