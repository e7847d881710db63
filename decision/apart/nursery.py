"""Forks processes from one that has everything imported and runs no threads.

A process that serves has threads, and forking it would copy locks that nobody will ever open. So before the
first thread starts it forks the nursery, which does nothing but fork on request. Children are up at once and
share with the server the memory of all that was imported.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

import structlog

from storage import faultpoints

_log = structlog.get_logger(__name__)

_MOST_ENDS = 4
_PR_SET_PDEATHSIG = 1

# What a child does with its ends of the sockets it was given; it ends when this returns.
Life = Callable[[Sequence[socket.socket]], None]


class Nursery:
    """The server's handle on the process that forks. Safe to call from any thread."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self._pid = pid
        self._channel = channel

    def bear(self, ends: Sequence[socket.socket]) -> None:
        """Start a child that has these ends; they are closed here.

        Raises:
            OSError: the nursery is gone.
        """
        socket.send_fds(self._channel, [b"1"], [end.fileno() for end in ends])
        for end in ends:
            end.close()

    def close(self) -> None:
        """End the nursery, and with it what it bore."""
        self._channel.close()
        os.waitpid(self._pid, 0)


def open_nursery(life: Life, *, private: Sequence[socket.socket] = ()) -> Nursery:
    """Fork the nursery; to be called before this process starts a thread.

    Args:
        life: what every child does.
        private: sockets of this process that no child should have.
    """
    ours, theirs = socket.socketpair()
    # What is there by now stays; to look through it again and again would copy the pages that are shared.
    gc.collect()
    gc.freeze()
    # At its end the interpreter collects everything, or extension modules complain of what they leak.
    atexit.register(gc.unfreeze)
    _flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        return Nursery(pid, ours)
    _end_with(_serve, parent, [ours, *private], theirs, life)


def _serve(channel: socket.socket, life: Life) -> None:
    signal.signal(signal.SIGCHLD, _reap)
    here = os.getpid()
    while True:
        asked, descriptors, _, _ = socket.recv_fds(channel, 1, _MOST_ENDS)
        if not asked:
            return
        ends = [socket.socket(fileno=one) for one in descriptors]
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _end_with(life, here, [channel], ends)
        for end in ends:
            end.close()
        # A process that a test has killed at a step is followed by one that gets past it.
        faultpoints.aim(None)


def _end_with(
    life: Callable[..., None], parent: int, private: Sequence[socket.socket], *given: object
) -> NoReturn:
    """Be a forked process: do `life` and end, at the latest when the parent does."""
    code = 1
    try:
        # Ctrl-C reaches the whole group, and a supervisor's signal all of a service: the server tells us.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        _die_with_parent(parent)
        for one in private:
            one.close()
        life(*given)
        code = 0
    except BaseException:  # noqa: BLE001 - the last thing this process does is to tell of it
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _die_with_parent(parent: int) -> None:
    """Let the system kill this process when its parent dies; elsewhere than on Linux it notices by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _reap(_number: int, _frame: object) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        if code:
            _log.warning("the process of the jobs ended", pid=pid, code=code)


def _flush() -> None:
    """Write what is buffered, or every copy of this process would."""
    for stream in (sys.stdout, sys.stderr):
        # On a full disk it stays there: better twice in the log than no process.
        with suppress(OSError):
            stream.flush()
