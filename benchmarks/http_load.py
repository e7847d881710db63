"""The load generator: requests over HTTP/1.1 at scheduled times, to this machine only.

One thread, raw sockets and `select`, whose timeouts are exact to microseconds where those of an event loop
are whole milliseconds. A request takes the connection that was idle first; when all are busy it waits, and
its latency goes on counting from its scheduled time.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from benchmarks.errors import BenchmarkError, BoundsExceeded
from benchmarks.schedule import Latencies, Schedule, summarise

# The only machine that is ever put under load.
HOST = "127.0.0.1"
MAX_CONNECTIONS = 256
# How long answers may take after the last scheduled send; what is still open then counts as an error.
DRAIN_SECONDS = 10.0
_CHUNK = 65_536
_CREATED = range(200, 300)


@dataclass(frozen=True, slots=True)
class Requests:
    """What to send: bodies in turn, to one path of the service at `port` on this machine, under a key."""

    port: int
    path: str
    bodies: Sequence[bytes]
    method: str = "POST"
    key: str = ""

    def wire(self) -> list[bytes]:
        """Return the requests as they go over the connection."""
        key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        return [
            f"{self.method} {self.path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
            f"{key}Content-Length: {len(body)}\r\n\r\n".encode()
            + body
            for body in self.bodies
        ]


def run_apart(requests: Requests, schedule: Schedule, connections: int = 32) -> Latencies:
    """Run a load in a process of its own, so that nothing this process does delays a send (see `run`)."""
    task = msgspec.json.encode(_Task(requests, schedule, connections))
    command = [sys.executable, "-m", "benchmarks.http_load"]
    done = subprocess.run(command, input=task, capture_output=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise BenchmarkError(f"the load generator failed: {''.join(last)}")
    return msgspec.json.decode(done.stdout, type=Latencies)


def run(requests: Requests, schedule: Schedule, connections: int = 32) -> Latencies:
    """Send requests by the schedule and return what became of them.

    Raises:
        BoundsExceeded: more connections than the generator takes.
        BenchmarkError: nothing listens at the port.
    """
    if not 1 <= connections <= MAX_CONNECTIONS:
        raise BoundsExceeded(f"a load takes 1 to {MAX_CONNECTIONS} connections, not {connections}")
    load = _Load(requests, schedule, connections)
    try:
        return load.run()
    finally:
        load.close()


class _Task(msgspec.Struct, frozen=True):
    """What a generator in a process of its own is told to do."""

    requests: Requests
    schedule: Schedule
    connections: int


@dataclass(slots=True)
class _Connection:
    """One connection; `index` is the send that waits for its answer here, -1 when idle."""

    socket: socket.socket
    index: int = -1
    received: bytearray = field(default_factory=bytearray)

    def fileno(self) -> int:
        return self.socket.fileno()


class _Load:
    def __init__(self, requests: Requests, schedule: Schedule, connections: int) -> None:
        self._port = requests.port
        self._wire = requests.wire()
        self._schedule = schedule
        self._idle = deque(self._connect() for _ in range(connections))
        self._busy: list[_Connection] = []
        self._latencies: list[float] = []
        self._errors = 0
        self._late = 0.0
        self._started = 0.0

    def run(self) -> Latencies:
        schedule, following = self._schedule, 0
        self._started = time.perf_counter()
        give_up = schedule.seconds + DRAIN_SECONDS
        while len(self._latencies) < schedule.number:
            now = self._now()
            if now > give_up:
                self._abandon(following, now)
                break
            while following < schedule.number and self._idle and schedule.due(following) <= now:
                self._send(following, now)
                following += 1
                now = self._now()
            self._receive(self._patience(following, now, give_up))
        return summarise(
            self._latencies, errors=self._errors, elapsed=max(self._now(), 1e-9), late=self._late
        )

    def close(self) -> None:
        for connection in (*self._idle, *self._busy):
            connection.socket.close()

    def _now(self) -> float:
        return time.perf_counter() - self._started

    def _patience(self, following: int, now: float, give_up: float) -> float:
        """Return how long to wait for answers: until the next send that a connection is free for."""
        if following < self._schedule.number and self._idle:
            return max(self._schedule.due(following) - now, 0.0)
        return max(give_up - now, 0.0)

    def _connect(self) -> _Connection:
        try:
            made = socket.create_connection((HOST, self._port), timeout=DRAIN_SECONDS)
        except OSError as error:
            raise BenchmarkError(
                f"nothing answers at {HOST}:{self._port} ({error.strerror or error}); start it first"
            ) from error
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Connection(made)

    def _send(self, index: int, now: float) -> None:
        connection = self._idle.popleft()
        connection.index = index
        connection.received.clear()
        self._busy.append(connection)
        self._late = max(self._late, now - self._schedule.due(index))
        try:
            connection.socket.sendall(self._wire[index % len(self._wire)])
        except OSError:
            self._replace(connection)

    def _receive(self, patience: float) -> None:
        readable, _, _ = select.select(self._busy, [], [], patience)
        for connection in readable:
            try:
                chunk = connection.socket.recv(_CHUNK)
            except OSError:
                chunk = b""
            if not chunk:
                self._replace(connection)
                continue
            connection.received += chunk
            status = answered(connection.received)
            if status is not None:
                self._note(connection, failed=status not in _CREATED)
                self._busy.remove(connection)
                self._idle.append(connection)

    def _replace(self, connection: _Connection) -> None:
        """Count a request that was cut off, and open another connection in the place of its own."""
        self._note(connection, failed=True)
        self._busy.remove(connection)
        connection.socket.close()
        self._idle.append(self._connect())

    def _note(self, connection: _Connection, *, failed: bool) -> None:
        self._latencies.append(self._now() - self._schedule.due(connection.index))
        self._errors += failed

    def _abandon(self, following: int, now: float) -> None:
        """Count what was never answered, or never sent because no connection came free."""
        unanswered = [connection.index for connection in self._busy]
        unanswered += range(following, self._schedule.number)
        self._latencies += [now - self._schedule.due(index) for index in unanswered]
        self._errors += len(unanswered)


def answered(received: bytearray) -> int | None:
    """Return the status of an answer that is there as a whole, None as long as more has to come.

    The answers of a service under load carry a Content-Length; one without counts as having no body.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[:end]).lower()
    _, found, rest = head.partition(b"\r\ncontent-length:")
    length = int(rest.split(b"\r\n", 1)[0]) if found else 0
    if len(received) < end + 4 + length:
        return None
    return int(head.split(b" ", 2)[1])


def _main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=_Task)
    sys.stdout.buffer.write(msgspec.json.encode(run(task.requests, task.schedule, task.connections)))


if __name__ == "__main__":
    _main()
