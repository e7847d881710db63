"""Turns of the one writer, lent to another process over a pair of sockets.

A SQLite file has one writer at a time. A process that works beside the one that owns the file, the guest, has
a writing connection of its own and uses it only while it is its turn: it asks, the host's writer says "go,
for so many seconds" when the background is owed a turn, and does nothing until the guest says "done" or its
end of the pair is closed. A guest that dies in its turn leaves a transaction that was never committed, which
SQLite forgets.

    guest                 host
    ASK           →             there is something to write
                  ←  GO         write now; `seconds` is how long that should take at most
    DONE          →             committed; `rows` were written; `more` says that this asks again
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, Protocol

import structlog

from storage.errors import DatabaseUnavailable

_log = structlog.get_logger(__name__)

# A guest that takes longer stands still; it is reported, and whoever started it should kill it.
OVERDUE_SECONDS = 10.0


class Said(IntEnum):
    """What either side says."""

    ASK = 1
    GO = 2
    DONE = 3


class _Frame(NamedTuple):
    said: int
    more: bool = False
    rows: int = 0
    seconds: float = 0.0


_FRAME = struct.Struct("<B?xxId")


class Lender(Protocol):
    """The host's writer."""

    def lend(self, loan: Loan) -> bool:
        """Give a turn to somebody else, once; False if there will be none any more."""
        ...


class Loan(Protocol):
    """A turn that somebody else is to have."""

    def run(self, seconds: float) -> int:
        """Let the other write for about `seconds`; returns, once it has ended, how many rows it wrote."""
        ...


class Guest:
    """The host's end: asks the writer for turns on behalf of one process, for as long as that lives."""

    def __init__(
        self,
        channel: socket.socket,
        writer: Lender,
        overdue: Callable[[], None],
        patience: float = OVERDUE_SECONDS,
    ) -> None:
        """Begin to listen.

        Args:
            overdue: called in the writer's thread when the guest stands still in its turn; must end it.
            patience: seconds after which it does.
        """
        self._channel = channel
        self._writer = writer
        self._overdue = overdue
        self._patience = patience
        # Set when the listener may read the channel: between two turns.
        self._idle = threading.Event()
        self._gone = False
        self._thread = threading.Thread(target=self._listen, name="guest-turns", daemon=True)
        self._thread.start()

    def run(self, seconds: float) -> int:
        done = self._turn(seconds)
        if done is not None and done.more and self._writer.lend(self):
            return done.rows
        self._gone = done is None or done.more
        self._idle.set()
        return done.rows if done is not None else 0

    def close(self) -> None:
        """Lend no more turns; a guest in its turn keeps it."""
        try:
            self._channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _turn(self, seconds: float) -> _Frame | None:
        try:
            _send(self._channel, _Frame(Said.GO, seconds=seconds))
            self._channel.settimeout(self._patience)
            while True:
                try:
                    return _receive(self._channel)
                except TimeoutError:
                    _log.error("the jobs stand still in their turn to write", seconds=self._patience)
                    self._overdue()
        except OSError:
            return None
        finally:
            self._channel.settimeout(None)

    def _listen(self) -> None:
        while not self._gone:
            self._idle.clear()
            try:
                asked = _receive(self._channel)
            except OSError:
                break
            if asked is None or not self._writer.lend(self):
                break
            self._idle.wait()
        self._channel.close()


class Borrower:
    """The guest's end: waits for its turn and gives it back."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._asked = False

    def begin(self) -> float:
        """Wait until it is our turn; returns for how many seconds it should last at most.

        Raises:
            DatabaseUnavailable: the process that lends the turns is gone.
        """
        try:
            if not self._asked:
                _send(self._channel, _Frame(Said.ASK))
            frame = _receive(self._channel)
        except OSError:
            frame = None
        if frame is None:
            raise DatabaseUnavailable("the service is shutting down; the job goes on when it runs again")
        return frame.seconds

    def end(self, rows: int, *, more: bool) -> None:
        """Give the turn back; `more` asks for the next one."""
        self._asked = more
        try:
            _send(self._channel, _Frame(Said.DONE, more, rows))
        except OSError:
            # What was written is durable; the next `begin` says that nobody is there.
            self._asked = False

    def close(self) -> None:
        """Ask for no more turns."""
        self._channel.close()


def _send(channel: socket.socket, frame: _Frame) -> None:
    channel.sendall(_FRAME.pack(*frame))


def _receive(channel: socket.socket) -> _Frame | None:
    """Return the next frame, None when the other side is gone."""
    received = b""
    while len(received) < _FRAME.size:
        piece = channel.recv(_FRAME.size - len(received))
        if not piece:
            return None
        received += piece
    return _Frame(*_FRAME.unpack(received))
