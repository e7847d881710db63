"""Packed bits and roaring bitmaps hold the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from audiences.selection.bitmaps import BLOCK, from_bits, from_numbers, to_bits, to_numbers
from audiences.selection.changes import change, spliced


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.0624, 0.5, 1.0])
def test_bits_there_and_back(length: int, share: float) -> None:
    mask = np.random.default_rng(length).random(length) < share
    bits = np.packbits(mask, bitorder="little")
    bitmap = from_bits(bits)
    assert bitmap == BitMap(np.flatnonzero(mask).astype(np.uint32))
    assert BitMap.deserialize(bitmap.serialize()) == bitmap
    assert np.array_equal(to_bits(bitmap, length), bits)
    assert to_numbers(bitmap).tolist() == np.flatnonzero(mask).tolist()


def test_empty_blocks_in_between_are_left_out() -> None:
    mask = np.zeros(5 * BLOCK, dtype=np.bool_)
    mask[[3, 3 * BLOCK, 3 * BLOCK + 1]] = True
    assert from_bits(np.packbits(mask, bitorder="little")) == BitMap([3, 3 * BLOCK, 3 * BLOCK + 1])


@pytest.mark.parametrize("members", [4095, 4096, 4097])
def test_where_a_list_becomes_bits(members: int) -> None:
    mask = np.arange(BLOCK) < members
    assert len(from_bits(np.packbits(mask, bitorder="little"))) == members


def test_numbers_past_the_end_are_left_out() -> None:
    assert to_bits(BitMap([1, 9, 100]), 10).tolist() == [2, 2]


NUMBERS = st.frozensets(st.integers(0, 200))


@given(NUMBERS, NUMBERS)
def test_a_change_leads_from_one_to_the_other(before: frozenset[int], after: frozenset[int]) -> None:
    found = change(from_numbers(np.asarray(list(before), dtype=np.uint32)), BitMap(after))
    entered, left = set(found.entered), set(found.left)
    assert entered == after - before
    assert left == before - after
    assert bool(found) is (before != after)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_only_who_was_looked_at_moves(
    before: frozenset[int], seen: frozenset[int], now: frozenset[int]
) -> None:
    after = set(spliced(BitMap(before), BitMap(seen), BitMap(now & seen)))
    assert after & seen == now & seen
    assert after - seen == before - seen
