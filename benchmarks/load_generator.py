"""What the load generator itself can send, so that nobody takes its limit for that of a service."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.echo import running_echo
from benchmarks.http_load import HOST, Requests, answered, run
from benchmarks.schedule import Schedule

REQUESTS = 10_000
# A rate that nothing reaches, so that a request is always due.
_AT_ONCE = 1e7
REPEATS = 5
_BODY = b'{"userId":"user-1","event":"page_viewed","properties":{"path":"/"}}'


def measure(_folder: Path, _say: Say) -> Sequence[Pair]:
    """Return pairs of requests a second."""
    with running_echo() as port:
        requests = Requests(port, "/v1/track", [_BODY])
        return alternate(lambda: ceiling(requests), lambda: ping_pong(requests), REPEATS)


def ceiling(requests: Requests) -> float:
    """Send all requests as fast as the generator can; return answers a second."""
    return run(requests, Schedule(_AT_ONCE, REQUESTS)).rate


def ping_pong(requests: Requests) -> float:
    """Send one request after the other on one blocking connection; return answers a second."""
    (request,) = requests.wire()
    with socket.create_connection((HOST, requests.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        for _ in range(REQUESTS):
            connection.sendall(request)
            received = bytearray()
            while answered(received) is None:
                received += connection.recv(4096)
        return REQUESTS / (time.perf_counter() - started)


LOAD_GENERATOR = Benchmark(
    name="load_generator",
    measures="Requests that the load generator sends as fast as it can, to a bare echo.",
    against="One blocking connection in a loop, to the same echo.",
    unit="requests/s",
    # Ten times the highest rate that a benchmark here asks for.
    bound=Bound("value", ">=", 2000),
    run=measure,
)
