"""What is said of a request to decide that can't be read names the place, and what was meant."""

from __future__ import annotations

import msgspec
import pytest

from decision.answers import DecideRequest
from decision.misread import misread


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ('{"user_id": "a", "plcement": "x"}', "there is no field plcement, did you mean 'placement'?"),
        ('{"identity": {"knd": "email"}}', "there is no field identity.knd, did you mean 'kind'?"),
        ('{"context": {"a": 1, "b": [2]}}', "context.b: Expected `bool | float | str | null`, got `array`"),
        ('{"context": {"a": 1, "b": 1e999}}', "Number out of range - at `$.context[...]`; send {"),
        ('{"context": {"a": "' + "x" * 201 + '"}}', "context.a: Expected `str` of length <= 200"),
        ('{"context": {"' + "x" * 65 + '": 1}}', "context." + "x" * 64 + ": Expected `str` of length <= 64"),
        ('{"context": [1]}', "Expected `object`, got `array` - at `$.context`; send {"),
        ('{"context": {"a": NaN}}', "JSON has no NaN: send null where a number is not known; send {"),
        ('{"context": {"a": -Infinity}}', "JSON has no -Infinity: send null"),
        ('{"context": ' + '{"a": ' * 9_000, "Expected `bool | float | str | null`, got `object`"),
        ("", "Input data was truncated; send {"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(body: str, what: str) -> None:
    read = body.encode()
    with pytest.raises(msgspec.DecodeError) as refused:
        msgspec.json.decode(read, type=DecideRequest)
    assert misread(read, refused.value, None).startswith(what)


def test_a_packed_body_is_not_taken() -> None:
    assert misread(b"\x1f\x8b", ValueError("malformed"), "gzip").startswith("the body is sent as gzip")
