from __future__ import annotations

import doctest
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from learning import vw_format
from learning.frames import read_frame, write_frame
from learning.vw_format import Done, Learn, escaped, lines


@given(st.text(), st.text())
def test_escaped_names_are_one_harmless_word_and_stay_different(one: str, other: str) -> None:
    word = escaped(one)
    assert not set(word) & set("|: \t\r\n'\"")
    assert word.isascii()
    assert not word.isdigit()
    assert (word == escaped(other)) == (one == other)


def test_names_that_would_end_an_example_are_written_harmlessly() -> None:
    names = [escaped(name) for name in ("a|b", "a:2", "a b", "a\nb", "12", "é")]
    (text,) = lines(names, np.full((1, 6), 2.0), np.ones(1), np.ones(1))
    assert text.count("|") == 1
    assert text.count(":") == 6
    assert "\n" not in text
    assert names == ["n.a%7Cb", "n.a%3A2", "n.a%20b", "n.a%0Ab", "n.12", "n.%C3%A9"]


def test_zeros_are_left_out_of_a_line() -> None:
    matrix = np.array([[0.0, 0.25], [0.0, 0.0], [1.0, 0.0]])
    found = list(lines(["n.a", "n.b"], matrix, np.array([1.0, 0.0, 0.5]), np.array([2.0, 1.0, 1.0])))
    assert found == ["1 2 |x n.b:0.25", "0 1 |x ", "0.5 1 |x n.a"]


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(vw_format, extraglobs={"np": np}).failed == 0


def test_frames_come_back_whole_and_a_torn_one_is_the_end() -> None:
    stream = io.BytesIO()
    write_frame(stream, Learn(b"\x00" * 16, b"\x01" * 8, b"\x02" * 8))
    write_frame(stream, Done())
    stream.seek(0)
    assert read_frame(stream) is not None
    assert read_frame(stream) is not None
    assert read_frame(stream) is None
    torn = io.BytesIO(stream.getvalue()[:10])
    assert read_frame(torn) is None
