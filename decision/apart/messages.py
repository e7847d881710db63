"""What the server and the process of the jobs say to each other: MessagePack over a stream socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

import msgspec

from audiences.selection.counting import Count
from storage.errors import NextplayError


class Begin(msgspec.Struct, tag=True, frozen=True):
    """Open the service and answer `Ready`; `now` is the moment of a simulated clock."""

    now: datetime | None


class Schedule(msgspec.Struct, tag=True, frozen=True):
    """Run the jobs by themselves from now on, if the settings say so."""


class Move(msgspec.Struct, tag=True, frozen=True):
    """The simulated clock stands at `now`."""

    now: datetime


class Run(msgspec.Struct, tag=True, frozen=True):
    """Run a job and answer `Done` or `Refused`."""

    id: int
    job: str


class Measure(msgspec.Struct, tag=True, frozen=True):
    """Answer `Measured`."""

    id: int


class CountRule(msgspec.Struct, tag=True, frozen=True):
    """Count for whom a rule holds, and answer `Counted` or `Refused`."""

    id: int
    rule: str


class Stop(msgspec.Struct, tag=True, frozen=True):
    """End within this many seconds, and say `Stopped` before."""

    seconds: float


class Hello(msgspec.Struct, tag=True, frozen=True):
    """A process is there."""

    pid: int


class Ready(msgspec.Struct, tag=True, frozen=True):
    """It can run jobs."""


class Done(msgspec.Struct, tag=True, frozen=True):
    """What a job did."""

    id: int
    report: dict[str, Any]


class Refused(msgspec.Struct, tag=True, frozen=True):
    """Why not: one of our errors, of job `id` or, with 0, of the process itself."""

    id: int
    status: int
    code: str
    retry: bool
    detail: str

    @classmethod
    def by(cls, error: NextplayError, of: int = 0) -> Refused:
        return cls(of, error.status, error.code, error.retry, str(error))

    def error(self) -> NextplayError:
        """Return the error as it was raised, as far as anybody outside can tell."""
        meant = {"status": self.status, "code": self.code, "retry": self.retry}
        kind: type[NextplayError] = type("RefusedElsewhere", (NextplayError,), meant)
        return kind(self.detail)


class Family(msgspec.Struct, frozen=True, array_like=True):
    """A metric with its samples: (name, labels, value)."""

    name: str
    documentation: str
    type: str
    samples: list[tuple[str, dict[str, str], float]]


class Measured(msgspec.Struct, tag=True, frozen=True):
    """The metrics of a process."""

    id: int
    families: list[Family]


class Counted(msgspec.Struct, tag=True, frozen=True):
    """For how many users a rule holds; None where not all users are in memory."""

    id: int
    count: Count | None


class Stopped(msgspec.Struct, tag=True, frozen=True):
    """How it ended: whether all queued writes were done, and which jobs did not end in time."""

    written: bool
    jobs: list[str]


ToJobs = Begin | Schedule | Move | Run | Measure | CountRule | Stop
FromJobs = Hello | Ready | Done | Refused | Measured | Counted | Stopped

Sent = TypeVar("Sent")
Received = TypeVar("Received")

_encode = msgspec.msgpack.Encoder().encode


class Channel(Generic[Sent, Received]):
    """One end of a connection: any thread may send, one receives."""

    def __init__(self, end: socket.socket, received: Any) -> None:
        """`received` is the union of messages that come in."""
        self._connection = Connection(end.detach())
        self._decode: Callable[[bytes], Received] = msgspec.msgpack.Decoder(received).decode
        self._sending = threading.Lock()

    def send(self, message: Sent) -> bool:
        """Send a message; False when the other side is gone."""
        body = _encode(message)
        with self._sending:
            try:
                self._connection.send_bytes(body)
            except OSError:
                return False
        return True

    def receive(self) -> Received | None:
        """Wait for the next message; None when the other side is gone."""
        try:
            return self._decode(self._connection.recv_bytes())
        except (EOFError, OSError):
            return None

    def close(self) -> None:
        """Let go; to be called by the thread that receives."""
        with self._sending:
            self._connection.close()
