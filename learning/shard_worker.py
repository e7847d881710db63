"""A process that learns shards: `python -m learning.shard_worker`, started by `learning/shards.py`."""

from __future__ import annotations

import os
import signal
import sys
from typing import BinaryIO

import msgspec

from learning.errors import LearningError
from learning.frames import read_frame, write_frame
from learning.shards import Failed, Shard, Taught, teach


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Learn shards until the other side is gone."""
    decoder = msgspec.msgpack.Decoder(Shard)
    while (frame := read_frame(requests)) is not None:
        answer: Taught | Failed
        try:
            answer = teach(decoder.decode(frame))
        except LearningError as error:
            answer = Failed(type(error).__name__, str(error))
        write_frame(replies, answer)


def main() -> None:
    # Ctrl-C reaches the whole group; the service closes our input when it stops, and so we end too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a library prints must not get between the frames.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
