"""How much a server holds: the highest rate of an open loop that it answers in time and without an error."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.errors import BenchmarkError
from benchmarks.schedule import MAX_REQUESTS, Latencies, Schedule

# What "holds" means: for so long, with a 99th percentile of so many milliseconds at most.
HELD_SECONDS, HELD_P99 = 30.0, 25.0
_TRIAL_SECONDS = 3.0
_UP, _BISECTIONS, _DOWN = 1.3, 4, 0.75
# Answers a second that must come of a rate, or the server has fallen behind.
_KEPT = 0.99

Load = Callable[[Schedule], Latencies]


def capacity(load: Load, guess: float) -> float:
    """Return the highest rate (requests a second) that is held for `HELD_SECONDS`.

    Short trials find about where it lies; then rates are tried for the whole time, from there down and, where
    that was too far, up again by halves.

    Raises:
        BenchmarkError: nothing is held, however slow.
    """
    rate = _held(load, guess, 0.5, _TRIAL_SECONDS)
    low, high = rate, rate * _UP
    while _holds(load, high, _TRIAL_SECONDS):
        low, high = high, high * _UP
    low = _between(load, low, high, _TRIAL_SECONDS)
    if _holds(load, low, HELD_SECONDS):
        return low
    held = _held(load, low * _DOWN, _DOWN, HELD_SECONDS)
    return _between(load, held, held / _DOWN, HELD_SECONDS)


def _held(load: Load, rate: float, down: float, seconds: float) -> float:
    """Return the first rate that is held for so long, from `rate` down."""
    while not _holds(load, rate, seconds):
        rate *= down
        if rate < 1:
            raise BenchmarkError("not even one request a second is answered in time")
    return rate


def _between(load: Load, low: float, high: float, seconds: float) -> float:
    """Return about the highest rate that is held for so long, of those from one that is to one that isn't."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _holds(load, middle, seconds) else (low, middle)
    return low


def _holds(load: Load, rate: float, seconds: float) -> bool:
    # A bare server is held for less, or the generator would send more than it keeps.
    found = load(Schedule(rate, min(max(1, int(rate * seconds)), MAX_REQUESTS)))
    return not found.errors and found.p99 <= HELD_P99 and found.rate >= _KEPT * rate
