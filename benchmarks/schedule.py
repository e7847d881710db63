"""An open-loop schedule: send times fixed in advance, latency counted from them.

A generator that waits for an answer before it sends the next request sends nothing while the service
stalls, and so leaves out exactly the requests that would have been slow (coordinated omission). Here a
request that could not be sent in time has waited since its time, and one that was never answered has
waited until the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from benchmarks.errors import BoundsExceeded

MAX_REQUESTS = 200_000
MAX_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """`number` sends at `rate` a second, evenly, from the start on."""

    rate: float
    number: int

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            BoundsExceeded: too many sends, too long, or nothing to send.
        """
        if not (self.rate > 0 and 1 <= self.number <= MAX_REQUESTS and self.seconds <= MAX_SECONDS):
            raise BoundsExceeded(
                f"a load of {self.number} requests at {self.rate:g} a second can't be run: give 1 to "
                f"{MAX_REQUESTS} requests over at most {MAX_SECONDS:g} seconds"
            )

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.number / self.rate

    def due(self, index: int) -> float:
        """Return when send `index`, from 0, is due, in seconds from the start."""
        return index / self.rate


class Latencies(msgspec.Struct, frozen=True):
    """What a load met with. Times in milliseconds from the scheduled time to the whole answer.

    `rate` is answers a second from the first scheduled time to the last answer. `errors` are requests
    refused, cut off or never answered; their times count like all others. `late` is the largest delay
    between a send's scheduled time and the send.
    """

    number: int
    errors: int
    rate: float
    p50: float
    p95: float
    p99: float
    max: float
    late: float


def summarise(seconds: Sequence[float], *, errors: int, elapsed: float, late: float) -> Latencies:
    """Return the summary of latencies in seconds, at least one."""
    ordered = sorted(seconds)
    return Latencies(
        number=len(ordered),
        errors=errors,
        rate=(len(ordered) - errors) / elapsed,
        p50=percentile(ordered, 50) * 1e3,
        p95=percentile(ordered, 95) * 1e3,
        p99=percentile(ordered, 99) * 1e3,
        max=ordered[-1] * 1e3,
        late=late * 1e3,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed (nearest rank)."""
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]
