"""Where "now" comes from: the machine, or a data set that is being replayed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from storage.errors import NextplayError


class ClockError(NextplayError):
    """The clock was asked for something it must not do."""

    status = 409
    code = "clock"


class Clock(Protocol):
    """Tells the present moment."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SimulatedClock:
    """A clock that stands still until it is moved, and only moves forward.

    Used to replay data with its own times and to test waits without waiting.
    """

    def __init__(self, start: datetime) -> None:
        self._now = _aware(start)
        self._lock = threading.Lock()
        self._followers: list[Callable[[datetime], None]] = []

    def now(self) -> datetime:
        return self._now

    def move_to(self, moment: datetime) -> None:
        """Set the present to `moment`.

        Raises:
            ClockError: `moment` lies before the present.
        """
        moment = _aware(moment)
        with self._lock:
            if moment < self._now:
                raise ClockError(
                    f"the clock stands at {self._now.isoformat()} and only moves forward; "
                    f"{moment.isoformat()} lies before it"
                )
            self._now = moment
            for follower in self._followers:
                follower(moment)

    def follow(self, follower: Callable[[datetime], None]) -> None:
        """Have a function told of every move from now on, in their order, before the move returns."""
        with self._lock:
            self._followers.append(follower)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ClockError(
            f"{moment.isoformat()} has no time zone; give one, for example {moment.isoformat()}Z"
        )
    return moment.astimezone(UTC)
