"""Rows as bits, in little order: row i is bit i % 8 of byte i // 8, and bits past the last row are 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def pack(rows: Mask) -> Bits:
    """Bits of a bool array."""
    return np.packbits(rows, bitorder="little")


def unpacked(bits: Bits, rows: slice, count: int) -> Mask:
    """The first `count` of some rows as bools; `rows` begin at a multiple of 8."""
    return np.unpackbits(bits[rows.start // 8 :], count=count, bitorder="little").view(np.bool_)


def members(bits: Bits, length: int) -> NDArray[np.int64]:
    """Row numbers whose bit is set, ascending."""
    return np.flatnonzero(np.unpackbits(bits, count=length, bitorder="little"))
