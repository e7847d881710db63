"""Messages of the tracking spec: what is taken, and what a wrong one is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from audiences.errors import EventRefused
from audiences.events import MAX_BATCH_BYTES, MAX_KEYS, MAX_MESSAGE_BYTES, parse_batch, parse_one

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ORDER: dict[str, Any] = {
    "type": "track",
    "messageId": "m1",
    "userId": "ann",
    "event": "order_completed",
    "properties": {"value": 12.5},
    "timestamp": "2026-03-02T08:00:00+01:00",
}


def batch(*messages: Any) -> bytes:
    return json.dumps({"batch": messages}).encode()


def test_a_track_message_becomes_an_event() -> None:
    (event,), refused = parse_batch(batch(ORDER), NOW)
    assert not refused
    assert (event.event_id, event.user_id, event.name) == ("m1", "ann", "order_completed")
    assert event.occurred_at == datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
    assert event.received_at == NOW
    assert event.properties == {"value": 12.5}


def test_traits_of_identify_are_its_properties() -> None:
    event = parse_one(b'{"userId": "ann", "traits": {"age": "25-34"}}', "identify", NOW)
    assert (event.name, event.properties) == ("identify", {"age": "25-34"})
    assert event.occurred_at == NOW
    assert event.event_id


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"userId": None}, "`userId` is missing"),
        ({"userId": ""}, "`userId` is missing"),
        ({"userId": 5}, "Expected `str | null`, got `int`"),
        ({"event": None}, "`event` is missing"),
        ({"type": "nonsense"}, "Invalid enum value 'nonsense'"),
        ({"properties": "none"}, "Expected `object`, got `str`"),
        ({"timestamp": "1970-01-01T00:00:00Z"}, "the clock was not set"),
        ({"timestamp": "2026-03-05T00:00:00Z"}, "lies in the future"),
        ({"timestamp": "2026-03-01T00:00:00"}, "has no time zone"),
        ({"timestamp": "yesterday"}, "Invalid RFC3339"),
        ({"messageId": "x" * 300}, "`messageId` has 300 characters"),
        ({"properties": {f"k{number}": 1 for number in range(MAX_KEYS + 1)}}, "1001 properties"),
        ({"properties": {"note": "x" * MAX_MESSAGE_BYTES}}, "at most 32768 are taken"),
    ],
)
def test_a_wrong_message_is_told_what_is_wrong_and_the_others_are_kept(
    change: dict[str, Any], what: str
) -> None:
    events, refused = parse_batch(batch({**ORDER, **change}, {**ORDER, "messageId": "m2"}), NOW)
    assert [event.event_id for event in events] == ["m2"]
    assert [one.index for one in refused] == [0]
    assert what in refused[0].error


def test_a_refusal_names_the_message() -> None:
    _, refused = parse_batch(batch({**ORDER, "userId": None}, 7), NOW)
    assert [one.message_id for one in refused] == ["m1", None]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"batch": 1}', b"\xff\xfe", b'{"batch": [{"properties": {"x": NaN}}]}']
)
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(EventRefused, match="not a batch"):
        parse_batch(body, NOW)


def test_a_batch_too_large_is_refused() -> None:
    with pytest.raises(EventRefused, match="send smaller ones"):
        parse_batch(b" " * (MAX_BATCH_BYTES + 1), NOW)
