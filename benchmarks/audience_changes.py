"""How long it takes to say who entered and who left a hundred audiences of five million users."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pyroaring import BitMap

from audiences.rules.packing import Bits
from audiences.selection.bitmaps import from_bits
from audiences.selection.changes import Change, change
from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError

USERS = 5_000_000
AUDIENCES = 100
MOVED = 0.02  # of the users, from one evaluation to the next
REPEATS = 5


def measure_changes(_folder: Path, _say: Say) -> Sequence[Pair]:
    """Return pairs of milliseconds for all audiences: roaring bitmaps, and XOR of bare bits."""
    before, after = generations()
    older, newer = [from_bits(row) for row in before], [from_bits(row) for row in after]

    def ours() -> list[Change]:
        return [change(old, new) for old, new in zip(older, newer, strict=True)]

    def bare() -> Bits:
        return np.bitwise_xor(before, after)

    found = [len(one.entered) + len(one.left) for one in ours()]
    if found != np.bitwise_count(bare()).sum(axis=1, dtype=np.int64).tolist():
        raise BenchmarkError("who entered and left is not who differs; the measurement is void")
    return alternate(lambda: _millis(ours), lambda: _millis(bare), REPEATS)


def measure_bitmaps(_folder: Path, _say: Say) -> Sequence[Pair]:
    """Return pairs of milliseconds: bits of all audiences as roaring bitmaps, and by way of numbers."""
    bits = generations()[0][:10]

    def by_numbers() -> list[BitMap]:
        return [
            BitMap(np.flatnonzero(np.unpackbits(row, bitorder="little")).astype(np.uint32)) for row in bits
        ]

    if by_numbers() != [from_bits(row) for row in bits]:
        raise BenchmarkError("the bitmaps differ; the measurement is void")
    scale = AUDIENCES / len(bits)
    return alternate(
        lambda: scale * _millis(lambda: [from_bits(row) for row in bits]),
        lambda: scale * _millis(by_numbers),
        REPEATS,
    )


def generations() -> tuple[Bits, Bits]:
    """Two generations of bits: audiences of all sizes, and the same after some users moved."""
    rng = np.random.default_rng(7)
    before = np.empty((AUDIENCES, USERS // 8), dtype=np.uint8)
    after = np.empty_like(before)
    for row in range(AUDIENCES):
        inside = rng.random(USERS, dtype=np.float32)
        before[row] = np.packbits(inside < row / AUDIENCES, bitorder="little")
        inside[rng.integers(0, USERS, int(USERS * MOVED))] = rng.random(dtype=np.float32)
        after[row] = np.packbits(inside < row / AUDIENCES, bitorder="little")
    return before, after


def _millis(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


AUDIENCE_CHANGES = Benchmark(
    name="audience_changes",
    measures=f"Who entered and who left each of {AUDIENCES} audiences over {USERS:,} users, as bitmaps.",
    against="XOR of the same memberships as packed bits, which says neither who nor which way.",
    unit="ms",
    bound=Bound("value", "<=", 150),
    run=measure_changes,
)
AUDIENCE_BITMAPS = Benchmark(
    name="audience_bitmaps",
    measures=f"Packed bits of {AUDIENCES} audiences over {USERS:,} users turned into roaring bitmaps.",
    against="The same bitmaps made of the numbers of the bits that are set.",
    unit="ms",
    bound=Bound("ratio", "<=", 0.5),
    run=measure_bitmaps,
)
