"""Decides together what was asked meanwhile: requests that came while others were decided are one block.

Nobody waits for others to come: a request that finds nothing under way is decided at once. But what could not
be committed yet is not decided yet either. The more there is to do, the larger blocks grow, and the less
each decision costs (`decision.together`). Answers are those that `Decider.submit` gives.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from sqlalchemy.exc import DBAPIError

from decision.answers import DecideAnswer, DecideRequest
from decision.deadline import Deadline
from decision.decider import Decider
from decision.observe import traces
from decision.recording import Key
from decision.together import Ask
from decision.waiting import result_of, woken_of
from playbooks.errors import UnknownPlacement
from storage.errors import NextplayError, WriterBusy

_log = structlog.get_logger(__name__)

# Requests of a block: while it is decided nothing else is answered.
MOST = 32


class Gathering:
    """Answers requests of event loops, many at a time."""

    def __init__(self, decider: Decider, at_once: int = 1) -> None:
        """Answer with a decider of which so many blocks are committed at a time (see `Writer.at_once`)."""
        self._decider, self._at_once = decider, at_once
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()

    async def answer(self, request: DecideRequest, key: str | None) -> DecideAnswer:
        """Decide, and return the answer once it is durable (see `Decider.submit`).

        What leaves no trace, what is to be explained, and what is traced is decided alone.
        """
        decider = self._decider
        if request.dry_run or request.explain or traces.recorded():
            return await result_of(decider.submit(request, key))
        deadline = Deadline.after(request.deadline_ms)
        asked = decider.check(request, key)
        if asked is not None and (earlier := decider.under_way.follow(asked)) is not None:
            return await result_of(earlier)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, key, asked, deadline, loop.create_future())
        if asked is not None:
            waiting.remembered = Future()
            decider.under_way.begin(asked, waiting.remembered)
        queue = self._loops.get(loop)
        if queue is None:
            queue = self._loops[loop] = _Queue(decider, self._at_once)
        queue.add(loop, waiting)
        return await waiting.answer


class _Waiting:
    """A request that waits for its answer; others that ask the same under its key follow `remembered`."""

    __slots__ = ("answer", "ask", "asked", "context", "deadline", "key", "remembered", "request")

    def __init__(
        self,
        request: DecideRequest,
        key: str | None,
        asked: Key | None,
        deadline: Deadline,
        answer: asyncio.Future[DecideAnswer],
    ) -> None:
        self.request, self.key, self.asked, self.deadline = request, key, asked, deadline
        self.answer = answer
        # What is logged and traced of a decision that is made alone is this request's.
        self.context = copy_context()
        self.remembered: Future[DecideAnswer] | None = None
        self.ask: Ask | None = None

    @property
    def given_up(self) -> bool:
        """Whether nobody waits any more."""
        return self.remembered is None and self.answer.done()

    def tell(self, answer: DecideAnswer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)
        if self.remembered is not None:
            self.remembered.set_result(answer)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
        if self.remembered is not None:
            self.remembered.set_exception(error)


class _Queue:
    """What waits to be decided on one event loop."""

    def __init__(self, decider: Decider, at_once: int) -> None:
        self._decider = decider
        self._waiting: deque[_Waiting] = deque()
        self._called = False
        # Blocks, or requests alone, that are not durable yet: as many as are committed at a time. Others
        # would wait for their commit all the same, in smaller blocks, decided by what was known earlier;
        # only a block that can't grow any more is decided ahead.
        self._under_way, self._at_once = 0, at_once

    def add(self, loop: asyncio.AbstractEventLoop, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        self._call(loop)

    def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        ahead = len(self._waiting) >= MOST
        if not self._called and self._under_way < self._at_once + ahead:
            self._called = True
            # After all requests that the loop has read by now; in nobody's context, for it is for many.
            loop.call_soon(self._decide, loop, context=Context())

    def _decide(self, loop: asyncio.AbstractEventLoop) -> None:
        self._called = False
        for placement, some in self._next().items():
            if len(some) == 1:
                self._alone(loop, some)
            else:
                self._together(loop, placement, some)
        if self._waiting:
            self._call(loop)

    def _next(self) -> dict[str, list[_Waiting]]:
        """Take what is decided next, by placement: everybody once, for the next is to see what one takes."""
        blocks: dict[str, list[_Waiting]] = {}
        again: list[_Waiting] = []
        users: set[str] = set()
        taken = 0
        while self._waiting and taken < MOST:
            one = self._waiting.popleft()
            if one.given_up:
                continue
            try:
                ask = one.ask = one.ask or self._decider.ask(one.request, one.key, one.deadline)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's
                one.fail(error)
                continue
            if ask.user in users and ask.fallback is None:
                again.append(one)
                continue
            users.add(ask.user)
            taken += 1
            blocks.setdefault(one.request.placement, []).append(one)
        self._waiting.extendleft(reversed(again))
        return blocks

    def _alone(self, loop: asyncio.AbstractEventLoop, some: Sequence[_Waiting]) -> None:
        for one in some:
            try:
                future = one.context.run(
                    self._decider.submit_alone, one.request, one.key, one.asked, one.deadline
                )
            except Exception as error:  # noqa: BLE001 - as above
                one.fail(error)
            else:
                self._when_done(loop, future, partial(_tell, one))

    def _together(self, loop: asyncio.AbstractEventLoop, placement: str, some: Sequence[_Waiting]) -> None:
        asks = [one.ask for one in some if one.ask is not None]
        try:
            future = self._decider.submit_each(asks, [one.asked for one in some], placement)
        except (UnknownPlacement, WriterBusy) as error:
            for one in some:
                one.fail(error)
        except Exception as error:  # noqa: BLE001 - whosever fault it is, the others are decided for
            self._one_by_one(loop, some, error)
        else:
            self._when_done(loop, future, partial(self._tell_each, loop, some))

    def _tell_each(
        self, loop: asyncio.AbstractEventLoop, some: Sequence[_Waiting], done: Future[list[Any]]
    ) -> None:
        error = done.exception()
        if error is None:
            for one, answer in zip(some, done.result(), strict=True):
                if isinstance(answer, NextplayError):
                    one.fail(answer)
                else:
                    one.tell(answer)
        elif isinstance(error, NextplayError | DBAPIError):
            # Whether it is durable is not known, so it is not done again.
            for one in some:
                one.fail(error)
        else:
            self._one_by_one(loop, some, error)

    def _one_by_one(
        self, loop: asyncio.AbstractEventLoop, some: Sequence[_Waiting], error: BaseException
    ) -> None:
        _log.warning("a block can't be decided together", requests=len(some), error=repr(error))
        self._alone(loop, some)

    def _when_done(
        self, loop: asyncio.AbstractEventLoop, future: Future[Any], tell: Callable[[Future[Any]], None]
    ) -> None:
        woken = woken_of(loop)
        self._under_way += 1
        future.add_done_callback(lambda done: woken.call(loop, partial(self._done, loop, tell, done)))

    def _done(
        self, loop: asyncio.AbstractEventLoop, tell: Callable[[Future[Any]], None], done: Future[Any]
    ) -> None:
        self._under_way -= 1
        tell(done)
        if self._waiting:
            self._call(loop)


def _tell(one: _Waiting, done: Future[DecideAnswer]) -> None:
    error = done.exception()
    if error is None:
        one.tell(done.result())
    else:
        one.fail(error)
