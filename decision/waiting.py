"""Lets a request wait for its commit: one that answers many wakes the event loop once, not for each."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class _Woken:
    """What other threads have finished for one event loop."""

    def __init__(self) -> None:
        self._done: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._called = False

    def finished(self, waiting: asyncio.Future[Any], done: Future[Any]) -> None:
        """Take note in whatever thread that something is done."""
        loop = waiting.get_loop()
        self._done.append((waiting, done))
        # `_tell` puts it down before it looks, so whatever comes meanwhile is seen by it or calls again.
        if not self._called and not loop.is_closed():
            self._called = True
            loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._called = False
        while self._done:
            waiting, done = self._done.popleft()
            if waiting.done():
                continue
            if done.cancelled():
                waiting.cancel()
            elif (error := done.exception()) is not None:
                waiting.set_exception(error)
            else:
                waiting.set_result(done.result())


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Woken] = WeakKeyDictionary()


async def result_of(future: Future[T]) -> T:
    """Return what a future of another thread comes to; whoever stops to wait gives it up, if it may be."""
    if future.done():
        return future.result()
    loop = asyncio.get_running_loop()
    woken = _loops.get(loop)
    if woken is None:
        woken = _loops[loop] = _Woken()
    waiting: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(partial(woken.finished, waiting))
    try:
        return await waiting
    except asyncio.CancelledError:
        future.cancel()
        raise
