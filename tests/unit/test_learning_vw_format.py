from __future__ import annotations

import doctest
import io

from hypothesis import given
from hypothesis import strategies as st

from learning import vw_format
from learning.vw_format import Done, Learn, escaped, line, read_frame, write_frame


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(vw_format).failed == 0


@given(st.text(), st.text())
def test_escaped_names_are_one_harmless_word_and_stay_different(one: str, other: str) -> None:
    word = escaped(one)
    assert not set(word) & set("|: \t\r\n'\"")
    assert word.isascii()
    assert not word.isdigit()
    assert (word == escaped(other)) == (one == other)


def test_names_that_would_end_an_example_are_written_harmlessly() -> None:
    names = [escaped(name) for name in ("a|b", "a:2", "a b", "a\nb", "12", "é")]
    text = line(names, [1.0] * 6, 1.0, 1.0)
    assert text.count("|") == 1
    assert text.count(":") == 6
    assert "\n" not in text
    assert names == ["n.a%7Cb", "n.a%3A2", "n.a%20b", "n.a%0Ab", "n.12", "n.%C3%A9"]


def test_zeros_are_left_out_of_a_line() -> None:
    assert line(["n.a", "n.b"], [0.0, 0.25], 1.0, 2.0) == "1 2 |x n.b:0.25"


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
