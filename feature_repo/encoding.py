"""The bytes of Feast's online store: serialised values, entity keys and times.

Follows feast/protos/feast/types/Value.proto and version 3 of Feast's entity keys; written by hand because
the protobuf classes cost ten times as much a value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from feature_repo.aggregates import FeatureType
from feature_repo.errors import LayoutMismatch

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Tags (field number << 3 | wire type) of feast.types.Value in protos/feast/types/Value.proto.
TEXT, INT, FLOAT, BOOL, TIME = 0x12, 0x20, 0x29, 0x38, 0x40
FLOATS = b"\x82\x01"
PACKED = 0x0A  # FloatList.val
_FLOAT32 = np.dtype("<f4")

# Feast writes an unknown time as this number of seconds instead of an empty value.
NO_TIME = -(1 << 63)

# Type numbers of feast.types.ValueType in an entity key (serialisation version 3).
STRING_KEY = 2


def entity_key(name: str, value: str) -> bytes:
    """Entity key, version 3, of one text join key."""
    v = value.encode()
    return _key_head(name) + _value_head(STRING_KEY, len(v)) + v


@cache
def _key_head(name: str) -> bytes:
    n = name.encode()
    return struct.pack("<3I", 1, STRING_KEY, len(n)) + n


_value_head = struct.Struct("<2I").pack


def stored_time(moment: datetime) -> int:
    """`event_ts` as Feast's SQLite adapter writes it: the UTC wall clock, taken for local time."""
    return int(moment.astimezone(UTC).replace(tzinfo=None).timestamp())


def true_time(stored: int) -> int:
    """Seconds since 1970 of a stored `event_ts`; the inverse of `stored_time`."""
    local = datetime.fromtimestamp(stored)  # noqa: DTZ006 - as Feast's own converter does
    return int(local.replace(tzinfo=UTC).timestamp())


def varint(number: int) -> bytes:
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _signed(data: bytes) -> int:
    value, _ = read_varint(data, 1)
    return value - (1 << 64) if value >> 63 else value


def _read_time(data: bytes) -> datetime | None:
    seconds = _signed(data)
    return None if seconds == NO_TIME else EPOCH + timedelta(seconds=seconds)


def _read_text(data: bytes) -> str:
    length, at = read_varint(data, 1)
    return data[at : at + length].decode()


def _read_floats(data: bytes) -> Any:
    _, at = read_varint(data, len(FLOATS))
    if at == len(data):
        return np.empty(0, np.float32)
    length, at = read_varint(data, at + 1)
    return np.frombuffer(data, _FLOAT32, length // 4, at)  # over immutable bytes, hence read-only


_unpack_double = struct.Struct("<xd").unpack

READERS: dict[int, Callable[[bytes], Any]] = {
    TEXT: _read_text,
    INT: _signed,
    FLOAT: lambda data: _unpack_double(data)[0],
    BOOL: lambda data: data[1] == 1,
    TIME: _read_time,
    FLOATS[0]: _read_floats,
}


def decode(data: bytes) -> Any:
    """Value of a serialised `Value`; None of an empty one.

    Raises:
        LayoutMismatch: it is of an unknown kind, or damaged.
    """
    if not data:
        return None
    reader = READERS.get(data[0])
    if reader is None:
        raise LayoutMismatch(
            f"a value of the online store begins with tag {data[0]:#x}, which is unknown here"
        )
    try:
        return reader(data)
    except (IndexError, struct.error, ValueError, OverflowError) as error:
        raise LayoutMismatch(
            f"a value of the online store is damaged ({len(data)} bytes, tag {data[0]:#x}): {error}; "
            "the next run of the job `features` writes it anew"
        ) from error


class Seen(dict[bytes | None, Any]):
    """Decoded values by their bytes; of many users most have been seen before. None of them can be changed.

    What is not there decodes to None.

    >>> Seen()[bytes((INT, 5))]
    5
    """

    def __missing__(self, data: bytes | None) -> Any:
        value = self[data] = None if data is None else decode(data)
        return value


def _encode_text(value: str) -> bytes:
    data = value.encode()
    return bytes((TEXT,)) + varint(len(data)) + data


def _seconds(value: datetime | None) -> int:
    return (value - EPOCH) // timedelta(seconds=1) if value is not None else NO_TIME


WRITERS: dict[FeatureType, Callable[[Any], bytes]] = {
    "text": _encode_text,
    "int": lambda value: bytes((INT,)) + varint(value),
    "float": lambda value: bytes((FLOAT,)) + struct.pack("<d", value),
    "bool": lambda value: bytes((BOOL, value)),
    "time": lambda value: bytes((TIME,)) + varint(_seconds(value)),
}


def encode(values: pa.ChunkedArray, kind: FeatureType) -> list[tuple[bytes, str | None]]:
    """Serialised `Value` and `value_text` of each value; null is an empty `Value` (for a time, NO_TIME)."""
    if kind == "floats":
        return [(data, None) for data in _encode_floats(values)]
    write = WRITERS[kind]
    listed = values.to_pylist()
    if kind == "time":
        return [(write(value), None) for value in listed]
    return [(write(value), str(value)) if value is not None else (b"", None) for value in listed]


def _encode_floats(values: pa.ChunkedArray) -> list[bytes]:
    column = values.combine_chunks()
    numbers = column.values.to_numpy(zero_copy_only=False).astype("<f4", copy=False)
    offsets = column.offsets.to_numpy()
    present = column.is_valid().to_numpy(zero_copy_only=False)
    heads: dict[int, bytes] = {}
    encoded = []
    for start, end, valid in zip(offsets[:-1], offsets[1:], present, strict=True):
        size = int(end - start) * 4
        if size not in heads:
            packed = bytes((PACKED,)) + varint(size) if size else b""
            heads[size] = FLOATS + varint(len(packed) + size) + packed
        encoded.append(heads[size] + numbers[start:end].tobytes() if valid else b"")
    return encoded
