"""The server's side of the process of the jobs: starts it, asks it, and starts another when it dies."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from datetime import datetime
from itertools import count
from typing import Any

import structlog

from audiences.selection.counting import Count
from decision.apart.messages import (
    Begin,
    Channel,
    Counted,
    CountRule,
    Done,
    Family,
    FromJobs,
    Hello,
    Measure,
    Measured,
    Move,
    Ready,
    Refused,
    Run,
    Schedule,
    Stop,
    Stopped,
    ToJobs,
)
from decision.apart.nursery import Nursery
from decision.errors import JobsLost
from decision.jobs import Report
from decision.scheduling import Ended
from storage.clock import Clock, SimulatedClock
from storage.sqlite_writer import SqliteWriter
from storage.turns import Guest
from storage.writer import Writer

_log = structlog.get_logger(__name__)

# How long whoever asks for a job waits for a process that can run it.
_READY_SECONDS = 30.0
# A scrape is not held up longer than this; what was told before is shown again.
_MEASURE_SECONDS = 2.0
# For a count; a rule over five million users takes a tenth of a second there.
_COUNT_SECONDS = 5.0
# From a death to the next start: at once the first time, longer and longer for one that dies soon.
_PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
_LIVED_WELL_SECONDS = 60.0
# Beyond its own time to stop: for the last message to arrive.
_GRACE_SECONDS = 1.0


class JobsApart:
    """The jobs of a service, in a process of their own. Safe to call from any thread."""

    def __init__(self, nursery: Nursery, *, patience: float | None = None) -> None:
        """`open` starts the process; `patience` is how long it may stand still in a turn (see `Guest`)."""
        self._nursery = nursery
        self._patience = {} if patience is None else {"patience": patience}
        self._changed = threading.Condition()
        self._child: _Child | None = None
        self._refused: Refused | None = None
        self._opened = False
        self._scheduled = False
        self._stopping = False
        self._measured: list[Family] = []
        self._published: Callable[[str], None] = _nothing
        self._thread = threading.Thread(target=self._supervise, name="jobs-process", daemon=True)
        self.restarts = 0

    @property
    def is_alive(self) -> bool:
        """Whether the process is there and can run jobs."""
        child = self._child
        return child is not None and child.ready

    @property
    def pid(self) -> int | None:
        """Its process id, None while there is none."""
        child = self._child
        return child.pid if child is not None else None

    def open(self, clock: Clock, writer: Writer, published: Callable[[str], None]) -> None:
        """Start the process and wait until it can run jobs.

        Args:
            writer: the one that lends turns on SQLite; others are the process's own.
            published: called with the name of a job that was asked for, before it is answered.

        Raises:
            NextplayError: it can't open what it needs, and says why.
        """
        self._clock = clock
        self._writer = writer
        self._published = published
        if isinstance(clock, SimulatedClock):
            clock.follow(self._move)
        self._child = self._begin()
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self.is_alive or self._refused is not None, _READY_SECONDS)
            self._opened = self.is_alive
            refused = self._refused
        if not self._opened:
            self.stop(0.0)
            if refused is not None:
                raise refused.error()
            raise JobsLost("the process of the jobs does not start; the service's log may say why")

    def start(self) -> None:
        """Let the jobs run by themselves, as far as the settings and roles say so."""
        with self._changed:
            self._scheduled = True
            if self._child is not None:
                self._child.channel.send(Schedule())

    def run(self, name: str) -> Report:
        """Run a job now and return what it did; what it published is served by then.

        Raises:
            JobsLost: the process died meanwhile; the job may be asked for again.
            NextplayError: as the job says (see `Jobs.run`).
        """
        answer = self._ready_child().ask(lambda number: Run(number, name)).result()
        if isinstance(answer, Refused):
            raise answer.error()
        assert isinstance(answer, Done)  # noqa: S101 - nothing else answers it
        self._published(name)
        return answer.report

    def count(self, rule: str) -> Count | None:
        """Return for how many users a rule holds; None if the process can't say, or not soon."""
        child = self._child
        if child is None or not child.ready:
            return None
        try:
            answer = child.ask(lambda number: CountRule(number, rule)).result(_COUNT_SECONDS)
        except (JobsLost, NotInTime):
            return None
        return answer.count if isinstance(answer, Counted) else None

    def measured(self) -> list[Family]:
        """Return the metrics of the process, as it last told them."""
        child = self._child
        if child is not None and child.ready:
            try:
                answer = child.ask(Measure).result(_MEASURE_SECONDS)
            except (JobsLost, NotInTime):
                return self._measured
            if isinstance(answer, Measured):
                self._measured = answer.families
        return self._measured

    def stop(self, seconds: float) -> Ended:
        """Let the process end its jobs after their batch and write what is queued, then end it."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            child = self._child
        ended = Ended(written=True, jobs=[])
        if child is not None:
            ended = child.stop(seconds)
        if self._thread.is_alive():
            self._thread.join()
        self._nursery.close()
        return ended

    def _move(self, now: datetime) -> None:
        with self._changed:
            if self._child is not None:
                self._child.channel.send(Move(now))

    def _ready_child(self) -> _Child:
        with self._changed:
            self._changed.wait_for(lambda: self.is_alive or self._stopping, _READY_SECONDS)
            if self._child is None or not self._child.ready:
                raise JobsLost("the process of the jobs is being started anew; try again")
            return self._child

    def _supervise(self) -> None:
        deaths = 0
        child = self._child
        while child is not None:
            born = time.monotonic()
            child.live()
            with self._changed:
                self._child = None
                self._refused = child.refused
                self._changed.notify_all()
                if self._stopping or (self._refused is not None and not self._opened):
                    return
                deaths = deaths + 1 if time.monotonic() - born < _LIVED_WELL_SECONDS else 1
                pause = _PAUSES[min(deaths, len(_PAUSES)) - 1]
                reason = child.refused.detail if child.refused is not None else None
                _log.warning(
                    "the process of the jobs is replaced", deaths=deaths, seconds=pause, reason=reason
                )
                if self._changed.wait_for(lambda: self._stopping, pause):
                    return
                self.restarts += 1
            child = self._begin()

    def _begin(self) -> _Child | None:
        """Start a process; what is said to it from now on reaches it once it is up."""
        with self._changed:
            if self._stopping:
                return None
            now = self._clock.now() if isinstance(self._clock, SimulatedClock) else None
            self._child = child = _Child(self._nursery, self._writer, self._changed, self._patience)
            child.channel.send(Begin(now))
            if self._scheduled:
                child.channel.send(Schedule())
            return child


class _Child:
    """One process of the jobs, from its start to its end."""

    def __init__(
        self,
        nursery: Nursery,
        writer: Writer,
        changed: threading.Condition,
        patience: dict[str, float],
    ) -> None:
        ours, theirs = socket.socketpair()
        given = [theirs]
        self._turns: Guest | None = None
        if isinstance(writer, SqliteWriter):
            mine, its = socket.socketpair()
            given.append(its)
        self.channel: Channel[ToJobs, FromJobs] = Channel(ours, FromJobs)
        nursery.bear(given)
        if isinstance(writer, SqliteWriter):
            self._turns = Guest(mine, writer, self.kill, **patience)
        self._changed = changed
        self.ready = False
        self.refused: Refused | None = None
        self.pid: int | None = None
        self._gone = False
        self._numbers = count(1)
        self._asked: dict[int, Future[FromJobs]] = {}
        self._stopped: Future[Stopped] = Future()

    def ask(self, message: Callable[[int], ToJobs]) -> Future[FromJobs]:
        """Ask something; the future fails with `JobsLost` if the process dies before it answers."""
        future: Future[FromJobs] = Future()
        with self._changed:
            if self._gone:
                future.set_exception(_lost())
                return future
            number = next(self._numbers)
            self._asked[number] = future
            # When it is gone, `live` is about to find out and to fail the future.
            self.channel.send(message(number))
        return future

    def live(self) -> None:
        """Hear what the process says until it is gone."""
        while (message := self.channel.receive()) is not None:
            self._hear(message)
        with self._changed:
            self._gone = True
            self.ready = False
            asked = list(self._asked.values())
        if self._turns is not None:
            self._turns.close()
        self.channel.close()
        for future in asked:
            future.set_exception(_lost())
        if not self._stopped.done():
            self._stopped.set_exception(_lost())

    def kill(self) -> None:
        """End the process at once."""
        with self._changed:
            if self.pid is not None and not self._gone:
                os.kill(self.pid, signal.SIGKILL)

    def stop(self, seconds: float) -> Ended:
        """Ask it to end; kill it when it does not."""
        self.channel.send(Stop(seconds))
        try:
            stopped = self._stopped.result(seconds + _GRACE_SECONDS)
        except NotInTime:
            self.kill()
            return Ended(written=False, jobs=["all"])
        except JobsLost:
            # It died by itself; everything it had promised to anybody is written.
            return Ended(written=True, jobs=[])
        return Ended(stopped.written, stopped.jobs)

    def _hear(self, message: FromJobs) -> None:
        match message:
            case Hello(pid):
                self.pid = pid
            case Ready():
                with self._changed:
                    self.ready = True
                    self._changed.notify_all()
            case Stopped():
                self._stopped.set_result(message)
            case Done(number) | Measured(number) | Counted(number):
                self._answer(number, message)
            case Refused(0):
                with self._changed:
                    self.refused = message
                    self._changed.notify_all()
            case Refused(number):
                self._answer(number, message)

    def _answer(self, number: int, message: FromJobs) -> None:
        with self._changed:
            future = self._asked.pop(number)
        future.set_result(message)


def _lost() -> JobsLost:
    return JobsLost("the process of the jobs ended meanwhile and is started anew; try again")


def _nothing(_: Any) -> None:
    """Nobody serves yet."""
