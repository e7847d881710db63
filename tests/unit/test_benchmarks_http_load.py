"""The load generator against servers that stall, refuse, hang up, or never answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks import http_load
from benchmarks.echo import running_echo
from benchmarks.errors import BenchmarkError, BoundsExceeded
from benchmarks.http_load import Requests, answered, run, run_apart
from benchmarks.schedule import Schedule

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STALL_SECONDS = 0.5


@contextmanager
def server(answer: Callable[[int], bytes | None]) -> Iterator[Requests]:
    """Serve one request after the other on all connections; `answer` is asked with each one's number.

    None hangs up, empty bytes answer nothing.
    """
    stop = threading.Event()
    listening = socket.create_server((http_load.HOST, 0))
    lock = threading.Lock()
    served = iter(range(1_000_000))
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65_536):
                with lock:
                    said = answer(next(served))
                if said is None:
                    return
                connection.sendall(said)

    def accept() -> None:
        while not stop.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield Requests(listening.getsockname()[1], "/v1/track", [b'{"a":1}', b"{}"])
    finally:
        stop.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()
        for thread in threads:
            thread.join()


def test_a_stall_shows_in_the_tail() -> None:
    """Of 400 requests over 2 s a stall of half a second delays a quarter; a closed loop would see one."""

    def stalls_once(number: int) -> bytes:
        if number == 200:
            time.sleep(STALL_SECONDS)
        return OK

    with server(stalls_once) as requests:
        latencies = run(requests, Schedule(rate=200, number=400), connections=1)
    assert latencies.number == 400
    assert latencies.errors == 0
    assert latencies.p99 >= 0.9 * STALL_SECONDS * 1e3
    assert latencies.p95 >= 0.5 * STALL_SECONDS * 1e3
    assert latencies.p50 < 0.2 * STALL_SECONDS * 1e3


def test_a_stall_shows_also_with_many_connections() -> None:
    def stalls_once(number: int) -> bytes:
        if number == 200:
            time.sleep(STALL_SECONDS)
        return OK

    with server(stalls_once) as requests:
        latencies = run(requests, Schedule(rate=200, number=400), connections=16)
    assert latencies.p99 >= 0.9 * STALL_SECONDS * 1e3


def test_refusals_and_hang_ups_are_errors() -> None:
    refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"

    def answer(number: int) -> bytes | None:
        return {0: refusal, 1: None}.get(number % 10, OK)

    with server(answer) as requests:
        latencies = run(requests, Schedule(rate=500, number=100), connections=4)
    assert latencies.number == 100
    assert latencies.errors == 20


def test_what_is_never_answered_has_waited_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_load, "DRAIN_SECONDS", 0.5)
    with server(lambda number: b"" if number >= 10 else OK) as requests:
        latencies = run(requests, Schedule(rate=100, number=20), connections=2)
    assert (latencies.number, latencies.errors) == (20, 10)
    assert latencies.max >= 500
    assert latencies.p50 < 500 < latencies.p95


def test_in_a_process_of_its_own() -> None:
    with running_echo() as port:
        latencies = run_apart(Requests(port, "/", [b"{}"]), Schedule(rate=500, number=200))
    assert (latencies.number, latencies.errors) == (200, 0)
    assert 300 < latencies.rate < 550


def test_nothing_listens() -> None:
    with socket.create_server((http_load.HOST, 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(BenchmarkError, match="nothing answers at"):
        run(Requests(port, "/", [b"{}"]), Schedule(1, 1))
    with pytest.raises(BenchmarkError, match="nothing answers at"):
        run_apart(Requests(port, "/", [b"{}"]), Schedule(1, 1))


def test_too_many_connections() -> None:
    with pytest.raises(BoundsExceeded, match="1 to 256 connections"):
        run(Requests(1, "/", [b"{}"]), Schedule(1, 1), connections=257)


def test_an_answer_is_whole_when_its_body_is() -> None:
    assert answered(bytearray(b"HTTP/1.1 200 OK\r\nContent-Le")) is None
    assert answered(bytearray(OK[:-1])) is None
    assert answered(bytearray(OK)) == 200
    assert answered(bytearray(b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n")) == 204
