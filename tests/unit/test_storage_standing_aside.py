"""Threads that compute wait while their process writes, and not for ever."""

from __future__ import annotations

import threading
import time

from storage.standing_aside import stand_aside, turn_under_way


def test_who_computes_goes_on_at_once_while_nobody_writes() -> None:
    started = time.perf_counter()
    stand_aside()
    with turn_under_way():
        pass
    stand_aside()
    assert time.perf_counter() - started < 0.02


def test_who_computes_goes_on_when_the_turn_has_ended() -> None:
    passed = threading.Event()

    def compute() -> None:
        stand_aside()
        passed.set()

    with turn_under_way():
        computing = threading.Thread(target=compute)
        computing.start()
        assert not passed.wait(0.005)
    assert passed.wait(0.5)
    computing.join()


def test_a_turn_that_lasts_holds_nobody_up_for_long() -> None:
    with turn_under_way():
        stand_aside()
