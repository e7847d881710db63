"""Bodies: inflated piece by piece, never larger than allowed, and mended where they are no JSON."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.errors import ContentTooLarge, EventRefused
from audiences.tracking.body import Inflating
from audiences.tracking.json_text import mended


def inflated(body: bytes, limit: int, piece: int = 7) -> bytes:
    inflating = Inflating(limit)
    for start in range(0, len(body), piece):
        inflating.add(body[start : start + piece])
    return inflating.end()


@given(st.binary(max_size=2_000), st.integers(1, 3_000))
def test_what_was_gzipped_comes_out(content: bytes, piece: int) -> None:
    assert inflated(gzip.compress(content), 2_000, piece) == content


def test_members_follow_each_other() -> None:
    assert inflated(gzip.compress(b"ab") + gzip.compress(b"") + gzip.compress(b"cd"), 4) == b"abcd"


def test_a_bomb_is_not_inflated() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    inflating = Inflating(10_000)
    with pytest.raises(ContentTooLarge, match="10000 bytes"):
        inflating.add(bomb)
    assert len(inflating._inflated) <= 10_001
    with pytest.raises(ContentTooLarge):
        inflated(gzip.compress(b"12345"), 4)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"no gzip", id="other bytes"),
        pytest.param(gzip.compress(b"x" * 1000, mtime=0)[:-9], id="cut short"),
        pytest.param(gzip.compress(b"x", mtime=0) + b"rest", id="more behind"),
    ],
)
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(EventRefused, match="gzip"):
        inflated(body, 10_000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


@given(JSON, st.booleans())
def test_json_is_left_as_it_is(value: Any, readable: bool) -> None:
    text = json.dumps(value, ensure_ascii=not readable).encode("utf-8", "surrogatepass")
    assert json.loads(mended(text, 200)) == json.loads(text.replace(b"\\ud", b"\\ud"))


def depth_of(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth_of, inside), default=0)


@given(JSON, st.integers(0, 4))
def test_what_is_too_deep_is_cut_and_still_too_deep(value: Any, limit: int) -> None:
    cut = json.loads(mended(json.dumps(value).encode(), limit))
    assert depth_of(cut) == min(depth_of(value), limit + 1)
    if depth_of(value) <= limit:
        assert cut == value
