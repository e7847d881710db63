"""How long a backend waits for a decision."""

from __future__ import annotations

import math
import time
from typing import NamedTuple


class Deadline(NamedTuple):
    """A moment on the monotonic clock, in seconds."""

    at: float

    @classmethod
    def after(cls, milliseconds: int | None) -> Deadline:
        """Return the deadline so many milliseconds from now; None: there is none, 0: it has passed."""
        if milliseconds is None:
            return NEVER
        return cls(-math.inf if milliseconds == 0 else time.monotonic() + milliseconds / 1000)

    @property
    def passed(self) -> bool:
        """Whether nobody waits any more."""
        return time.monotonic() >= self.at


NEVER = Deadline(math.inf)
