"""Threads that compute wait while their process writes, and not for ever."""

from __future__ import annotations

import threading

import pytest

from storage import standing_aside
from storage.standing_aside import aside, stand_aside, turn_under_way


def computing() -> tuple[threading.Thread, threading.Event]:
    """Start a thread that stands aside; the event says that it went on."""
    passed = threading.Event()

    def compute() -> None:
        stand_aside()
        passed.set()

    thread = threading.Thread(target=compute, daemon=True)
    thread.start()
    return thread, passed


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_aside, "_PATIENCE", 60.0)


@pytest.mark.usefixtures("patient")
def test_who_computes_goes_on_at_once_while_nobody_writes() -> None:
    with turn_under_way():
        pass
    _, passed = computing()
    assert passed.wait(60)


@pytest.mark.usefixtures("patient")
def test_who_computes_goes_on_when_the_turn_has_ended() -> None:
    with turn_under_way():
        thread, passed = computing()
        assert not passed.wait(0.05)
    assert passed.wait(60)
    thread.join()


def test_a_turn_that_lasts_holds_nobody_up_for_long() -> None:
    with turn_under_way():
        _, passed = computing()
        assert passed.wait(60)


def test_whose_turn_it_is_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = threading.Event()
    with turn_under_way():
        monkeypatch.setattr(standing_aside._nobody_writes, "wait", lambda _seconds: waited.set())
        stand_aside()
        assert not waited.is_set()
        _, passed = computing()
        assert passed.wait(60)
        assert waited.is_set(), "others do wait"


@pytest.mark.usefixtures("patient")
def test_rows_are_made_while_nobody_writes() -> None:
    made: list[int] = []
    reading = threading.Thread(target=lambda: made.extend(aside([1, 2, 3])), daemon=True)
    with turn_under_way():
        reading.start()
        reading.join(0.05)
        assert not made
    reading.join(10)
    assert made == [1, 2, 3]
