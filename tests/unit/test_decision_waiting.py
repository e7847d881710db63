"""Requests that wait for commits of another thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest

from decision.waiting import result_of


async def _asked(futures: list[Future[int]]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(result_of(future)) for future in futures]
    await asyncio.sleep(0)
    return tasks


def test_what_is_done_together_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[list[int], int]:
        loop, woken = asyncio.get_running_loop(), 0
        plain = loop.call_soon_threadsafe

        def counted(*given: Any, **also: Any) -> Any:
            nonlocal woken
            woken += 1
            return plain(*given, **also)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        futures: list[Future[int]] = [Future() for _ in range(50)]
        tasks = await _asked(futures)

        def commit() -> None:
            for number, future in enumerate(futures):
                future.set_result(number)

        # Nothing of the loop runs meanwhile, as while a commit answers all whom it made durable.
        commit()
        after = woken
        return [await task for task in tasks], after

    found, woken = asyncio.run(run())
    assert found == list(range(50))
    assert woken == 1


def test_what_failed_is_raised_and_the_others_are_answered() -> None:
    async def run() -> list[Any]:
        futures: list[Future[int]] = [Future() for _ in range(3)]
        tasks = await _asked(futures)
        futures[0].set_exception(ValueError("no"))
        futures[1].cancel()
        await asyncio.to_thread(futures[2].set_result, 7)
        return await asyncio.gather(*tasks, return_exceptions=True)

    failed, given_up, answered = asyncio.run(run())
    assert isinstance(failed, ValueError)
    assert isinstance(given_up, asyncio.CancelledError)
    assert answered == 7


def test_who_waits_no_more_gives_it_up() -> None:
    async def run() -> bool:
        future: Future[int] = Future()
        (task,) = await _asked([future])
        task.cancel()
        await asyncio.wait([task])
        return future.cancelled()

    assert asyncio.run(run())


def test_what_is_done_already_is_not_waited_for() -> None:
    future: Future[int] = Future()
    future.set_result(3)
    assert asyncio.run(result_of(future)) == 3
