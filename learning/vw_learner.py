"""The learner in charge: VW as a bounded scalar regressor, in a child process that may die at any time.

VW learns, we serve: the weights it ends with become a `Linear` model. Each fold sends the state it starts
from, so a process that dies is replaced and the fold done again with the same result.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import numpy as np

from learning.errors import BrokenWeights, InvalidRows, LearnerLost, LearnerRefused
from learning.frames import HEAD, write_frame
from learning.learner import Learnt, Task
from learning.models import Linear
from learning.models.linear import Link
from learning.rows import FloatArray, Rows
from learning.vw_format import Done, Failed, Finish, Learn, Merge, Reply, Request, Result, Start, escaped

# Rows sent at a time; a frame of 60 columns is then 240 kB.
_CHUNK = 500
# A process that dies this often on the same rows will not get through them.
_ATTEMPTS = 3
_READ_BYTES = 1 << 16


Loss = Literal["squared", "logistic"]


class _ProcessGone(Exception):
    """The child died or stood still; try with another."""


class VwLearner:
    """Owns VW's process and restarts it when it dies. One fold at a time; safe to call from any thread."""

    def __init__(
        self,
        task: Task,
        *,
        bits: int = 18,
        learning_rate: float = 0.5,
        passes: int = 1,
        loss: Loss = "squared",
        patience: float = 60.0,
    ) -> None:
        """Describe the learner; its process starts with the first fold.

        Args:
            bits: the weight table has 2^bits entries.
            learning_rate: VW's `--learning_rate`.
            passes: how often each fold goes over its rows.
            loss: `squared` for any reward, cut to its bounds; `logistic` for one that is either `low` or
                `high`, where prior weights are in log-odds.
            patience: seconds to wait for an answer before the process counts as lost.
        """
        self._task = task
        self._bits = bits
        self._passes = passes
        self._patience = patience
        self._loss = loss
        self._options: tuple[str, ...] = ("--quiet", "-b", str(bits), "--learning_rate", repr(learning_rate))
        if loss == "logistic":
            self._options += ("--loss_function", "logistic", "--link", "logistic")
        else:
            self._options += ("--min_prediction", repr(task.low), "--max_prediction", repr(task.high))
        self._names = tuple(escaped(name) for name in task.names)
        self._process: subprocess.Popen[bytes] | None = None
        # Processes started so far: the first one, and one for each that was lost.
        self.starts = 0
        self._buffer = bytearray()
        self._decoder = msgspec.msgpack.Decoder(Reply)
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def fold(self, state: bytes | None, rows: Rows) -> Learnt:
        self._check(rows)
        return self._tried(lambda: self._fold_once(state, rows), f"over {len(rows)} rows")

    def merge(self, base: bytes | None, states: Sequence[bytes]) -> Learnt:
        if not states:
            raise BrokenWeights("there is no shard to merge")
        return self._tried(lambda: self._merge_once(base, states), f"over {len(states)} shards")

    def _tried(self, once: Callable[[], Result], over: str) -> Learnt:
        with self._lock:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    result = once()
                    break
                except _ProcessGone as gone:
                    self._stop()
                    if attempt == _ATTEMPTS:
                        raise LearnerLost(
                            f"VW's process was lost {_ATTEMPTS} times {over} ({gone}); the version in "
                            "charge stays, and the rows are learnt when it runs again"
                        ) from gone
        weights = np.frombuffer(result.weights, dtype="<f8")
        task = self._task
        link: Link = "logistic" if self._loss == "logistic" else "identity"
        model = Linear(task.names, weights[:-1].copy(), float(weights[-1]), task.low, task.high, link)
        return Learnt(model, result.state)

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _merge_once(self, base: bytes | None, states: Sequence[bytes]) -> Result:
        self._begin(base)
        self._ask(Merge(tuple(states)))
        return self._finish()

    def _begin(self, state: bytes | None) -> None:
        prior = np.ascontiguousarray(self._task.weights, dtype="<f8").tobytes()
        self._ask(Start(self._options, self._bits, self._names, state, prior, self._task.intercept))

    def _fold_once(self, state: bytes | None, rows: Rows) -> Result:
        self._begin(state)
        targets = self._labels(rows)
        for _ in range(self._passes):
            for start in range(0, len(rows), _CHUNK):
                piece = slice(start, start + _CHUNK)
                parts = (rows.matrix[piece], targets[piece], rows.importance[piece])
                self._ask(Learn(*(_doubles(part) for part in parts)))
        return self._finish()

    def _finish(self) -> Result:
        reply = self._ask(Finish())
        if not isinstance(reply, Result):
            raise LearnerRefused(f"VW's process answered {type(reply).__name__} instead of what it learnt")
        return reply

    def _labels(self, rows: Rows) -> FloatArray:
        if self._loss == "squared":
            return rows.targets
        return np.where(rows.targets == self._task.high, 1.0, -1.0)

    def _check(self, rows: Rows) -> None:
        rows.check(len(self._task.names), self._task.low, self._task.high)
        if self._loss == "logistic":
            between = (rows.targets != self._task.low) & (rows.targets != self._task.high)
            if between.any():
                raise InvalidRows(
                    f"{int(between.sum())} targets are neither {self._task.low} nor {self._task.high}, which "
                    "the logistic loss needs; nothing was learnt: use the squared loss"
                )

    def _ask(self, request: Request) -> Done | Result:
        process = self._running()
        assert process.stdin is not None  # noqa: S101 - opened as a pipe below
        try:
            write_frame(process.stdin, request)
        except OSError as error:
            raise _ProcessGone("it takes no more input") from error
        reply: Reply = self._decoder.decode(self._receive(process))
        if isinstance(reply, Failed):
            # One bad example can poison VW for all that follow.
            self._stop()
            raise LearnerRefused(f"VW can't learn this: {reply.reason}")
        return reply

    def _receive(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None  # noqa: S101 - opened as a pipe below
        output = process.stdout.fileno()
        deadline = time.monotonic() + self._patience
        while not self._complete():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([output], [], [], left)[0]:
                raise _ProcessGone(f"no answer within {self._patience:g} s")
            data = os.read(output, _READ_BYTES)
            if not data:
                raise _ProcessGone("it ended")
            self._buffer += data
        (length,) = HEAD.unpack_from(self._buffer)
        body = bytes(self._buffer[HEAD.size : HEAD.size + length])
        del self._buffer[: HEAD.size + length]
        return body

    def _complete(self) -> bool:
        if len(self._buffer) < HEAD.size:
            return False
        (length,) = HEAD.unpack_from(self._buffer)
        return len(self._buffer) >= HEAD.size + int(length)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._buffer.clear()
            # Its own group: a signal meant for the service's terminal group is none of its business. Not its
            # own session, among which Linux shares the processor evenly, however nice each of them is.
            self.starts += 1
            self._process = subprocess.Popen(
                [sys.executable, "-m", "learning.vw_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,
            )
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    # What was still to be written has nobody to go to.
                    continue


def _doubles(values: FloatArray) -> bytes:
    return np.ascontiguousarray(values, dtype="<f8").tobytes()
