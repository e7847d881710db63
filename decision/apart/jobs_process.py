"""The process of the jobs: a service without an API, told what to do by the server it belongs to."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog

from audiences.selection.counting import Counting
from decision.apart.measured import measure
from decision.apart.messages import (
    Begin,
    Channel,
    Counted,
    CountRule,
    Done,
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
from decision.health import unavailable
from decision.precedence import jobs_after_requests
from storage import collecting
from storage.clock import SimulatedClock
from storage.errors import NextplayError
from storage.turns import Borrower

if TYPE_CHECKING:
    from decision.wiring import Service

_log = structlog.get_logger(__name__)

# How long a thread that computes may keep the one whose turn it is to write from running.
SWITCH_SECONDS = 0.0001
# Jobs that may be asked for at once; as many as the server has threads to wait in.
_THREADS = 40
_INTERNAL = "an unexpected error; the service's log says more"

# Opens the service at a moment of a simulated clock; the turns are those of a SQLite file's owner.
Opening = Callable[[datetime | None, Borrower | None], "Service"]


def live(opening: Opening, ends: Sequence[socket.socket]) -> None:
    """Be the process of the jobs until told to stop, or until the server is gone.

    Args:
        ends: of the channel to the server and, on SQLite, of the turns that its writer lends.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    channel: Channel[FromJobs, ToJobs] = Channel(ends[0], ToJobs)
    channel.send(Hello(os.getpid()))
    begin = channel.receive()
    if not isinstance(begin, Begin):
        return
    try:
        service = opening(begin.now, Borrower(ends[1]) if len(ends) > 1 else None)
    except NextplayError as error:
        channel.send(Refused.by(error))
        return
    jobs_after_requests()
    if len(ends) > 1:
        collecting.between_turns()
    channel.send(Ready())
    _Worker(service, channel).work()


class _Worker:
    def __init__(self, service: Service, channel: Channel[FromJobs, ToJobs]) -> None:
        self._service = service
        self._channel = channel
        self._counting = Counting(service.database, service.audiences)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="asked")

    def work(self) -> None:
        while (message := self._channel.receive()) is not None:
            if isinstance(message, Stop):
                self._stop(message.seconds)
                return
            self._do(message)
        # Nobody is there to work for. What is under way is as safe as after a crash.
        os._exit(1)

    def _do(self, message: ToJobs) -> None:
        match message:
            case Move(now):
                # Before anything that is asked for later, which is only received after this.
                if isinstance(self._service.clock, SimulatedClock):
                    self._service.clock.move_to(now)
            case Schedule():
                self._service.start()
            case Run(number, job):
                self._threads.submit(self._answer, number, partial(self._run, number, job), job)
            case Measure(number):
                self._threads.submit(self._measure, number)
            case CountRule(number, rule):
                self._threads.submit(self._answer, number, partial(self._count, number, rule), "count")

    def _run(self, number: int, job: str) -> FromJobs:
        return Done(number, self._service.jobs.run(job))

    def _count(self, number: int, rule: str) -> FromJobs:
        return Counted(number, self._counting.held(rule))

    def _answer(self, number: int, work: Callable[[], FromJobs], asked: str) -> None:
        try:
            answer = work()
        except Exception as error:  # noqa: BLE001 - whatever it was, who asked is told
            known = unavailable(error) or error
            if isinstance(known, NextplayError):
                answer = Refused.by(known, number)
            else:
                _log.exception("unexpected error", job=asked)
                answer = Refused(number, 500, "internal", retry=False, detail=_INTERNAL)
        self._channel.send(answer)

    def _measure(self, number: int) -> None:
        self._channel.send(Measured(number, measure(self._service)))

    def _stop(self, seconds: float) -> None:
        closed = self._service.close(seconds)
        self._channel.send(Stopped(closed.written, closed.jobs))
        # A job that is still at work would keep the interpreter from ending.
        os._exit(0)
