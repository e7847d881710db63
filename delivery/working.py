"""Threads that hand over the messages of one channel side by side, while it has any."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from queue import Empty, SimpleQueue

from delivery.attempts import Attempt, Outcome


class Workers:
    """At most `number` threads; a slow channel keeps no others busy than these."""

    def __init__(self, name: str, number: int, hand_over: Callable[[Attempt], Outcome]) -> None:
        self._name, self._number, self._hand_over = name, number, hand_over
        self._tasks: SimpleQueue[Attempt | None] = SimpleQueue()
        self._done: SimpleQueue[Outcome | BaseException] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._gone = False
        # Until when each message may be handed over, in the order in which they were taken.
        self._until: dict[str, datetime] = {}

    @property
    def in_hand(self) -> int:
        """How many messages were taken and have no outcome yet."""
        return len(self._until)

    def covered(self, now: datetime) -> bool:
        """Whether every message in hand is still under lease: what is not would be claimed a second time."""
        first = next(iter(self._until.values()), None)
        return first is None or now < first

    def take(self, attempts: Sequence[Attempt]) -> None:
        """Begin to hand messages over, in their order."""
        self._until.update({one.queued.key: one.until for one in attempts})
        for attempt in attempts:
            self._tasks.put(attempt)
        while len(self._threads) < min(self._number, self.in_hand):
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def done(self, most: int, seconds: float) -> list[Outcome]:
        """Wait for an outcome; return it with those that come within `seconds` of it, up to `most`.

        Raises:
            BaseException: what ended a worker, as it would have ended a process; nothing more is begun.
        """
        outcomes = [self._outcome(None)]
        until = time.monotonic() + seconds
        with suppress(Empty):
            while len(outcomes) < min(most, self.in_hand):
                outcomes.append(self._outcome(max(0.0, until - time.monotonic())))
        for one in outcomes:
            del self._until[one.attempt.queued.key]
        return outcomes

    def _outcome(self, seconds: float | None) -> Outcome:
        one = self._done.get(timeout=seconds)
        if isinstance(one, BaseException):
            raise one
        return one

    def end(self) -> None:
        """Begin nothing more; what has begun ends by itself."""
        self._gone = True
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (attempt := self._tasks.get()) is not None and not self._gone:
            try:
                self._done.put(self._hand_over(attempt))
            except BaseException as error:  # noqa: BLE001 - whoever waits for the outcome is to know
                self._gone = True
                self._done.put(error)
