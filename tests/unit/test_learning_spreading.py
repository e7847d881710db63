"""Work over processes: its order, what it raises, and that a process that dies is told at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing import active_children

import numpy as np
import pytest

from learning.errors import InvalidRows, WorkerDied
from learning.spreading import spread
from storage.errors import NextplayError

# More than a pipe holds.
LARGE = np.zeros(1_000_000)


def scaled(factor: float, task: float) -> float:
    if task < 0:
        raise InvalidRows(f"{task} is below 0")
    return factor * task


def test_results_come_in_the_order_of_the_tasks() -> None:
    tasks = list(range(20))
    assert list(spread(scaled, 2.0, tasks, 2)) == [2.0 * task for task in tasks]
    assert list(spread(scaled, 2.0, [], 2)) == []
    assert not active_children()


def test_what_a_task_raises_is_raised_here() -> None:
    with pytest.raises(InvalidRows, match="-1 is below 0") as raised:
        list(spread(scaled, 2.0, [1, -1, 3], 1))
    assert "in another process" in raised.value.__notes__[0]
    assert not active_children()


def killed(_: object, task: int) -> int:
    if task == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return task


def test_a_process_killed_at_work_is_told_though_others_go_on() -> None:
    with pytest.raises(WorkerDied, match="ended by SIGKILL"):
        list(spread(killed, None, [0, 1], 2))
    assert not active_children()


def left(_: object, task: int) -> int:
    os._exit(task)


def test_a_process_that_leaves_is_told() -> None:
    with pytest.raises(WorkerDied, match="status 3"):
        list(spread(left, None, [3], 1))


def test_a_process_killed_while_it_starts_is_told() -> None:
    """It never reads what it is given, which is more than a pipe takes."""

    def kill_the_first() -> None:
        while not (children := active_children()):
            time.sleep(0.001)
        children[0].kill()

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    with pytest.raises(WorkerDied, match="ended by SIGKILL") as raised:
        list(spread(size, LARGE, [1, 2], 2))
    killer.join()
    assert isinstance(raised.value, NextplayError)
    assert not active_children()


def size(given: np.ndarray[tuple[int], np.dtype[np.float64]], _: int) -> int:
    return len(given)
