"""The process in which VW lives: `python -m learning.vw_worker`, started by `learning/vw_learner.py`.

VW never releases the GIL, replaces signal handlers and can be poisoned for good by one bad example, so it
is kept out of the serving process. It keeps nothing between folds: each starts from the state it is given.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import BinaryIO

import msgspec
import numpy as np
import vowpal_wabbit_next as vw

from learning.frames import read_frame, write_frame
from learning.vw_format import (
    INTERCEPT_HASH,
    NAMESPACE,
    Done,
    Failed,
    Finish,
    Learn,
    Merge,
    Reply,
    Request,
    Result,
    Start,
    lines,
)

# Decisions go first: learning can wait for a free core.
_NICENESS = 10


class Fold:
    """One fold in progress."""

    def __init__(self, start: Start) -> None:
        """Make a workspace from the state or the prior.

        Raises:
            ValueError: two columns fall on one weight.
        """
        self._options = options = list(start.options)
        if start.state is None:
            self._workspace = vw.Workspace(options)
        else:
            self._workspace = vw.Workspace(options, model_data=start.state)
        self._parser = vw.TextFormatParser(self._workspace)
        self._names = start.names
        mask = (1 << start.bits) - 1
        rows = [
            self._workspace.get_index_for_scalar_feature(name, namespace_name=NAMESPACE) & mask
            for name in start.names
        ]
        rows.append(INTERCEPT_HASH & mask)
        if len(set(rows)) != len(rows):
            raise ValueError(
                f"two of {len(rows)} columns fall on one of 2^{start.bits} weights; give it more bits"
            )
        self._rows = np.array(rows)
        if start.state is None:
            prior = np.append(np.frombuffer(start.weights, dtype="<f8"), start.intercept)
            self._workspace.weights()[self._rows, 0, 0] = prior

    def learn(self, rows: Learn) -> None:
        """Learn rows in their order."""
        matrix = np.frombuffer(rows.matrix, dtype="<f8").reshape(-1, len(self._names))
        targets, importance = (np.frombuffer(part, dtype="<f8") for part in (rows.targets, rows.importance))
        for example in lines(self._names, matrix, targets, importance):
            self._workspace.learn_one(self._parser.parse_line(example))

    def merge(self, states: Sequence[bytes]) -> None:
        """Go on from what states learnt of different rows, each on top of this one.

        VW weighs each weight by how much its adaptive steps have seen of it.
        """
        others = [vw.Workspace(self._options, model_data=state) for state in states]
        deltas = [vw.calculate_delta(self._workspace, one) for one in others]
        self._workspace = vw.apply_delta(self._workspace, vw.merge_deltas(deltas))

    def result(self) -> Result:
        """Return the state and the weights as they are now."""
        weights = self._workspace.weights()[self._rows, 0, 0].astype("<f8")
        return Result(self._workspace.serialize(), weights.tobytes())


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until the other side is gone."""
    decoder = msgspec.msgpack.Decoder(Request)
    fold: Fold | None = None
    while (frame := read_frame(requests)) is not None:
        reply: Reply = Done()
        try:
            match decoder.decode(frame):
                case Start() as start:
                    fold = Fold(start)
                case Learn() as rows if fold is not None:
                    fold.learn(rows)
                case Merge() as merge if fold is not None:
                    fold.merge(merge.states)
                case Finish() if fold is not None:
                    reply, fold = fold.result(), None
                case _:
                    reply = Failed("there is no fold in progress")
        except Exception as error:  # noqa: BLE001 - whatever VW raises is for the other side to judge
            reply = Failed(f"{type(error).__name__}: {error}")
        write_frame(replies, reply)


def main() -> None:
    # Ctrl-C reaches the whole group; the service closes our input when it stops, and so we end too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    # What VW prints must not get between the frames.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
