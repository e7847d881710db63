"""How versions are kept: sealed, as exact differences, for as long as decisions need them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.errors import BrokenWeights
from learning.keeping import SPARE, WEIGHTS_KEPT, Letting, Row, applied, difference, letting, opened, seal

START = datetime(2026, 3, 2, tzinfo=UTC)
LATE = START + WEIGHTS_KEPT + timedelta(days=10)


@given(st.binary(max_size=200), st.integers(min_value=0), st.integers(1, 255))
def test_any_changed_or_missing_byte_is_noticed(data: bytes, place: int, change: int) -> None:
    sealed = bytearray(seal(data))
    assert opened(bytes(sealed)) == data
    with pytest.raises(BrokenWeights):
        opened(bytes(sealed[:-1]))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(BrokenWeights):
        opened(bytes(sealed))


@given(st.lists(st.integers(0, 999), max_size=40), st.integers(0, 2**32 - 1))
def test_a_difference_is_exact_and_small(changed: list[int], seed: int) -> None:
    base = np.random.default_rng(seed).normal(size=1000)
    data = base.copy()
    data[changed] += 0.1
    kept = difference(base.tobytes(), data.tobytes())
    assert kept is not None
    assert len(kept) < 200 + 15 * len(changed)
    assert applied(base.tobytes(), kept) == data.tobytes()
    with pytest.raises(BrokenWeights):
        applied(data[::-1].tobytes(), kept)
    with pytest.raises(BrokenWeights):
        applied(base.tobytes(), kept[:-1])


def test_what_differs_everywhere_is_kept_in_full() -> None:
    one, other = (np.random.default_rng(seed).normal(size=500).tobytes() for seed in (1, 2))
    assert difference(one, other) is None
    assert difference(one, one[:-8]) is None


def row(number: int, day: int, *, used: bool = True, base: int | None = None, state: bool = False) -> Row:
    name = None if base is None else f"p@{base}"
    return Row(f"p@{number}", START + timedelta(days=day), used, name, True, state)


def test_the_newest_stay_and_of_the_others_those_that_decided() -> None:
    rows = [row(number, number, used=number != 2, state=True) for number in range(6)]
    assert letting(rows, START + timedelta(days=7)) == Letting(["p@2"], [], ["p@0", "p@1", "p@2"])
    assert letting(rows[-SPARE:], LATE) == Letting([], [], [])


def test_weights_go_90_days_after_the_next_version_took_charge() -> None:
    rows = [row(1, 0), row(2, 4), *(row(number, 5) for number in range(3, 6))]
    end = START + timedelta(days=4) + WEIGHTS_KEPT
    assert letting(rows, end - timedelta(microseconds=1)).weights == []
    assert letting(rows, end).weights == ["p@1"]


def test_a_copy_stays_as_long_as_a_difference_to_it() -> None:
    rows = [row(1, 0, used=False), row(2, 0, base=1), row(3, 5), *(row(number, 200) for number in (4, 5, 6))]
    assert letting(rows, START + timedelta(days=90)) == Letting([], [], [])
    # Version 2 was followed on day 5.
    assert letting(rows, START + timedelta(days=96)).weights == ["p@2"]


def test_a_version_that_just_came_is_waited_for() -> None:
    rows = [row(number, 0, used=False) for number in range(5)]
    assert letting(rows, START + timedelta(minutes=59)).rows == []
    assert letting(rows, START + timedelta(hours=1)).rows == ["p@0", "p@1"]
