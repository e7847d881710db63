"""Packed bits and roaring bitmaps of users' numbers, one made of the other without looking at single users.

A roaring bitmap cuts the numbers into blocks of 65,536. A block with many members is kept as 8 KB of bits in
little order, as `rules` packs them; one with few as a list of 16-bit numbers. So a bitmap is written down in
its portable form straight from the bits (github.com/RoaringBitmap/RoaringFormatSpec), and read from there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

Bits = NDArray[np.uint8]

BLOCK = 1 << 16
_BLOCK_BYTES = BLOCK // 8
_LISTED = 4096  # a block with at most so many members is a list
_COOKIE = 12346  # of the portable form without runs


def from_bits(bits: Bits) -> BitMap:
    """The numbers whose bit is set, bit i % 8 of byte i // 8 being number i."""
    blocks = -(-len(bits) // _BLOCK_BYTES)
    counts = np.asarray(
        [
            int(np.bitwise_count(bits[at * _BLOCK_BYTES : (at + 1) * _BLOCK_BYTES]).sum(dtype=np.int64))
            for at in range(blocks)
        ],
        dtype=np.int64,
    )
    used = np.flatnonzero(counts)
    if not len(used):
        return BitMap()
    bodies = [_body(bits[at * _BLOCK_BYTES : (at + 1) * _BLOCK_BYTES], int(counts[at])) for at in used]
    described = np.column_stack([used, counts[used] - 1]).astype("<u2").tobytes()
    start = 8 + len(described) + 4 * len(used)
    offsets = start + np.cumsum([0, *(len(body) for body in bodies[:-1])])
    head = np.asarray([_COOKIE, len(used)], dtype="<u4").tobytes()
    return BitMap.deserialize(b"".join([head, described, offsets.astype("<u4").tobytes(), *bodies]))


def to_bits(bitmap: BitMap, length: int) -> Bits:
    """Bits of the numbers below `length`; others are left out."""
    mask = np.zeros(length, dtype=np.bool_)
    numbers = to_numbers(bitmap)
    mask[numbers[numbers < length]] = True
    return np.packbits(mask, bitorder="little")


def to_numbers(bitmap: BitMap) -> NDArray[np.uint32]:
    """The numbers of a bitmap, ascending."""
    return np.frombuffer(bitmap.to_array(), dtype=np.uint32)


def from_numbers(numbers: NDArray[np.integer]) -> BitMap:
    """The bitmap of some numbers, in any order."""
    return BitMap(np.ascontiguousarray(numbers, dtype=np.uint32))


def _body(block: Bits, count: int) -> bytes:
    if count > _LISTED:
        return block.tobytes().ljust(_BLOCK_BYTES, b"\0")
    return np.flatnonzero(np.unpackbits(block, bitorder="little")).astype("<u2").tobytes()
