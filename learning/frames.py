"""Frames between a service and a process that learns for it."""

from __future__ import annotations

import struct
from typing import IO

import msgspec

# The length of what follows.
HEAD = struct.Struct("<I")
_MAX_FRAME = 1 << 30


def write_frame(stream: IO[bytes], message: msgspec.Struct) -> None:
    """Write one message: its length in four bytes, little-endian, then msgpack."""
    body = msgspec.msgpack.encode(message)
    stream.write(HEAD.pack(len(body)) + body)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """Read one message's bytes, or None when the other side is gone."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    (length,) = HEAD.unpack(head)
    if length > _MAX_FRAME:
        return None
    body = stream.read(length)
    return body if len(body) == length else None
