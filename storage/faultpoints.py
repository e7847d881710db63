"""Places where a test may kill this process: named steps between which durability must not depend on luck.

Nothing happens unless `NEXTPLAY_FAULT_POINT` says `<point>` or `<point>:<n>`; then the process kills itself
(SIGKILL, so nothing is flushed, closed or rolled back) at the n-th time it reaches that point. Reaching one
costs a comparison with None otherwise. tests/faults aims with it.
"""

from __future__ import annotations

import os
import signal
from threading import Lock
from typing import Final

VARIABLE: Final = "NEXTPLAY_FAULT_POINT"

# Every point there is, with what has been done when it is reached and what has not.
POINTS: Final = {
    "writer.before_commit": "rows written, not committed",
    "writer.committed": "committed, nobody answered",
    "executor.applied": "flows advanced and effects kept, not committed",
    "relay.claimed": "messages leased, not handed over",
    "relay.accepted": "a provider answered for one message, others in hand, none recorded",
    "relay.handed_over": "messages handed over, not recorded",
    "checkout.taken": "a use of a coupon counted and kept, not committed",
    "feed.before_cursor": "events taken over by the history or the states of features, cursor not moved",
    "audiences.staged": "who is in each audience kept, none of it live",
    "audiences.live": "all audiences live, nobody told who entered and left",
    "reward.recorded": "rewards recorded, not learnt",
    "learn.folded": "rewards learnt, no policy version published",
    "learn.published": "policy version published, not served",
}


class _Aim:
    """A point and how often it is still to be passed."""

    def __init__(self, text: str) -> None:
        self.point, _, times = text.partition(":")
        if self.point not in POINTS or not (times or "1").isdecimal():
            raise ValueError(f"{VARIABLE}={text!r} names no fault point; there are {', '.join(POINTS)}")
        self._left = int(times or "1")
        self._lock = Lock()

    def pass_by(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


_aim: _Aim | None = None


def aim(text: str | None) -> None:
    """Kill this process at a point, written as in the variable; None: at none.

    Raises:
        ValueError: there is no such point.
    """
    global _aim  # noqa: PLW0603 - one process, one aim
    _aim = _Aim(text) if text else None


def reached(point: str) -> None:
    """Say that a point is reached; returns unless it is the one aimed at."""
    if _aim is not None and _aim.point == point:
        _aim.pass_by()


aim(os.environ.get(VARIABLE))
