"""Lets requests wait for commits: one that answers many wakes the event loop once, not for each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class Woken:
    """What other threads have finished for one event loop."""

    def __init__(self) -> None:
        self._done: deque[Callable[[], None]] = deque()
        self._called = False

    def call(self, loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> None:
        """Have the loop, whose this is, call what must not raise; from whatever thread."""
        self._done.append(tell)
        # `_tell` puts it down before it looks, so whatever comes meanwhile is seen by it or calls again.
        if not self._called and not loop.is_closed():
            self._called = True
            loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._called = False
        while self._done:
            self._done.popleft()()


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Woken] = WeakKeyDictionary()


def woken_of(loop: asyncio.AbstractEventLoop) -> Woken:
    """Return what wakes an event loop; to be asked for in its own thread."""
    woken = _loops.get(loop)
    if woken is None:
        woken = _loops[loop] = Woken()
    return woken


async def result_of(future: Future[T]) -> T:
    """Return what a future of another thread comes to; whoever stops to wait gives it up, if it may be."""
    if future.done():
        return future.result()
    loop = asyncio.get_running_loop()
    woken = woken_of(loop)
    waiting: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(lambda done: woken.call(loop, partial(_pass_on, waiting, done)))
    try:
        return await waiting
    except asyncio.CancelledError:
        future.cancel()
        raise


def _pass_on(waiting: asyncio.Future[Any], done: Future[Any]) -> None:
    if waiting.done():
        return
    if done.cancelled():
        waiting.cancel()
    elif (error := done.exception()) is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(done.result())
