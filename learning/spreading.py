"""Work spread over processes, where one that dies is always noticed.

A pool of `concurrent.futures` may wait for ever when a process dies while it starts: what each is given goes
through a pipe whose other end the parent holds open too, and whoever ends a broken pool misses processes that
are started meanwhile. Here each process has a connection of its own, whose other end nobody else holds: when
it dies the connection ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

from learning.errors import WorkerDied

_Given = TypeVar("_Given")
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Between the end of a process's connection and its own.
_SECONDS_TO_END = 5.0


def spread(
    work: Callable[[_Given, _Task], _Result], given: _Given, tasks: Sequence[_Task], processes: int
) -> Iterator[_Result]:
    """Yield what `work` makes of each task, in the order of the tasks, from up to `processes` processes.

    They start anew and are not forked, and compute with one thread each.

    Args:
        work: a function of a module.
        given: what every task needs, sent once to each process.

    Raises:
        WorkerDied: a process ended before its work did; the others are ended too.
        Exception: what `work` raised first; the processes are ended.
    """
    with _started(min(processes, len(tasks))) as running:
        for connection in running:
            _tell(running, connection, (work, given))
        waiting = iter(enumerate(tasks))
        busy = {connection for connection in running if _give(running, connection, waiting)}
        done: dict[int, _Result] = {}
        following = 0
        while busy:
            for ready in wait(busy):
                connection = cast("Connection", ready)
                place, result = _told(running, connection)
                done[place] = result
                if not _give(running, connection, waiting):
                    busy.remove(connection)
            while following in done:
                yield done.pop(following)
                following += 1


@contextmanager
def _started(number: int) -> Iterator[dict[Connection, BaseProcess]]:
    context = multiprocessing.get_context("spawn")
    running: dict[Connection, BaseProcess] = {}
    process: BaseProcess
    try:
        with single_threaded():
            for _ in range(number):
                here, there = context.Pipe()
                # What a process is started with must fit into a pipe: one that died would never empty it.
                process = context.Process(target=_work, args=(there,), daemon=True)
                process.start()
                running[here] = process
                there.close()
        yield running
    finally:
        for connection, process in running.items():
            connection.close()
            process.kill()
            process.join()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let processes that are started meanwhile compute with one thread each."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _work(connection: Connection) -> None:
    """Do in a process of its own what the parent asks for, until it is gone."""
    # An interrupt of the terminal goes to all; the parent ends these.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, ConnectionError):
        work, given = connection.recv()
        while True:
            place, task = connection.recv()
            result, failed = None, None
            try:
                result = work(given, task)
            except Exception as error:  # noqa: BLE001 - it is the parent's to handle
                error.add_note(f"It was raised in another process:\n{traceback.format_exc()}")
                failed = error
            connection.send((place, result, failed))


def _give(
    running: Mapping[Connection, BaseProcess], connection: Connection, waiting: Iterator[tuple[int, object]]
) -> bool:
    """Give a process the next task, and return whether there was one."""
    for task in waiting:
        _tell(running, connection, task)
        return True
    return False


def _tell(running: Mapping[Connection, BaseProcess], connection: Connection, message: object) -> None:
    try:
        connection.send(message)
    except ConnectionError as error:
        raise _died(running[connection]) from error


def _told(running: Mapping[Connection, BaseProcess], connection: Connection) -> tuple[int, Any]:
    try:
        place, result, failed = connection.recv()
    except (EOFError, ConnectionError) as error:
        raise _died(running[connection]) from error
    if failed is not None:
        raise failed
    return place, result


def _died(process: BaseProcess) -> WorkerDied:
    process.join(_SECONDS_TO_END)
    code = process.exitcode
    if code is not None and code < 0:
        return WorkerDied(
            f"a process that computed was ended by {signal.Signals(-code).name}, as happens when memory runs "
            "out: ask for fewer processes, or give less data"
        )
    return WorkerDied(
        f"a process that computed ended by itself (status {code}) before its work was done; what it wrote "
        "to the terminal says why"
    )
