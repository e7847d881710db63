"""The way of one channel through a relay: claims, has workers hand over, records; until nothing is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from delivery.attempts import Attempt, Outcome
from delivery.claiming import Claim
from delivery.models import Report
from delivery.working import Workers
from storage.clock import Clock

# Seconds of work that a lane has in hand once it knows how fast its channel is, and messages of each worker
# before that. What is in hand goes before whatever is queued later, also what is more urgent.
_AHEAD = 1.0
_FIRST_GUESS = 16
# Seconds for which what came of messages waits for what comes of others: a record of many costs little more
# than one of one. Who dies meanwhile leaves as many attempts of which nobody knows what came of them.
_TOGETHER = 0.02
# Over less time than this a speed says little.
_SPAN = 0.2


class Lane:
    """One run of a channel's lane, in a thread of its own."""

    def __init__(
        self,
        channel: str,
        concurrency: int,
        most: int,
        *,
        hand_over: Callable[[Attempt], Outcome],
        claim: Callable[[datetime, int], tuple[bool, Claim]],
        record: Callable[[Sequence[Outcome]], Report],
        stopping: Callable[[], bool],
        clock: Clock,
        before: Lane | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            most: messages in hand at most.
            claim: takes up to a number of messages that are due at a moment; says whether there may be more.
            stopping: whether nothing more is to be claimed.
            before: the run before this one, which knows how fast the channel was.
        """
        self.more = True
        self._most, self._hand_over, self._claim = most, hand_over, claim
        self._record, self._stopping, self._clock = record, stopping, clock
        self._ahead: int = min(most, before._ahead if before else _FIRST_GUESS * concurrency)
        self._least = min(most, 2 * concurrency)
        self._workers = Workers(f"channel-{channel}", concurrency, hand_over)
        self._report = before.told() if before else Report()
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"lane-{channel}", daemon=True)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def wait(self, seconds: float | None) -> None:
        """Wait until the run has ended, for at most some seconds."""
        self._thread.join(seconds)

    def told(self) -> Report:
        """Return what came of messages since this was last asked.

        Raises:
            BaseException: what ended the run.
        """
        with self._lock:
            report, self._report = self._report, Report()
            error, self._error = self._error, None
        if error is not None:
            raise error
        return report

    def _run(self) -> None:
        try:
            self._keep_busy()
        except BaseException as error:  # noqa: BLE001 - whoever began the run is to know
            self._error = error
        finally:
            self._workers.end()

    def _keep_busy(self) -> None:
        workers = self._workers
        since, number = time.monotonic(), 0
        while True:
            # One moment for both: between two, a lease in hand might end.
            while self._may_claim(now := self._clock.now()):
                self.more, claim = self._claim(now, self._ahead - workers.in_hand)
                self._tell(claim.report)
                workers.take(claim.attempts)
            if not workers.in_hand:
                return
            outcomes = workers.done(self._most, _TOGETHER)
            self._tell(self._record(outcomes))
            # What was let go may be taken again, or put aside.
            self.more |= any(one.let_go for one in outcomes)
            number += len(outcomes)
            took = time.monotonic() - since
            if took >= _SPAN:
                self._ahead = max(self._least, min(self._most, int(_AHEAD * number / took)))
                since, number = time.monotonic(), 0

    def _may_claim(self, now: datetime) -> bool:
        workers = self._workers
        room = workers.in_hand <= self._ahead // 2
        return self.more and room and workers.covered(now) and not self._stopping()

    def _tell(self, report: Report) -> None:
        with self._lock:
            self._report += report
