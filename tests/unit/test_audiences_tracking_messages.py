"""Messages of the tracking spec: what is taken, and what a wrong one is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.errors import ContentTooLarge, EventRefused, MessageTooLarge
from audiences.events import Event, MessageType
from audiences.tracking.limits import (
    MAX_BATCH_BYTES,
    MAX_BATCH_MESSAGES,
    MAX_DEPTH,
    MAX_KEYS,
    MAX_MESSAGE_BYTES,
)
from audiences.tracking.messages import parse_batch, parse_message

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ORDER: dict[str, Any] = {
    "type": "track",
    "messageId": "m1",
    "userId": "ann",
    "event": "order_completed",
    "properties": {"value": 12.5},
    "timestamp": "2026-03-02T08:00:00+01:00",
}
GOOD = json.dumps({**ORDER, "messageId": "m2"}).encode()


def batch(*messages: Any, **around: Any) -> bytes:
    return json.dumps({"batch": messages, **around}).encode()


def one(type_: str, **fields: Any) -> Event:
    return parse_message(
        json.dumps({"userId": "ann", **fields}).encode(), NOW, type_=cast(MessageType, type_)
    )


def beside(*raw: bytes) -> bytes:
    """A batch of texts that are not JSON by themselves, and a good message at its end."""
    return b'{"batch": [' + b", ".join([*raw, GOOD]) + b"]}"


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_a_track_message_becomes_an_event() -> None:
    parsed = parse_batch(batch(ORDER), NOW, "key1")
    (event,) = parsed.events
    assert not parsed.refused
    assert (event.event_id, event.user_id, event.name) == ("m1", "ann", "order_completed")
    assert event.occurred_at == datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
    assert (event.received_at, event.source, event.type) == (NOW, "key1", "track")
    assert event.properties == {"value": 12.5}


def test_traits_are_the_properties_of_identify_and_group() -> None:
    event = one("identify", traits={"age": "25-34"})
    assert (event.name, event.type, event.properties) == ("identify", "identify", {"age": "25-34"})
    assert event.occurred_at == NOW
    assert event.event_id
    group = one("group", groupId="acme", traits={"plan": "gold"})
    assert (group.name, group.account_id, group.properties) == ("group", "acme", {"plan": "gold"})


def test_pages_and_screens_are_kept_under_names_of_their_own() -> None:
    page = one("page", name="Home", category="Shop", properties={"path": "/"})
    assert (page.name, page.properties) == (
        "page_viewed",
        {"path": "/", "name": "Home", "category": "Shop"},
    )
    screen = one("screen", name="Cart", properties={"name": "Basket"})
    assert (screen.name, screen.properties) == ("screen_viewed", {"name": "Basket"})
    assert one("page").properties == {}


def test_an_alias_names_both_ids() -> None:
    alias = one("alias", previousId="anonymous-1")
    assert (alias.name, alias.previous_id, alias.user_id) == ("alias", "anonymous-1", "ann")


def test_an_anonymous_id_is_enough() -> None:
    event = one("track", userId=None, anonymousId="a1", event="seen")
    assert (event.user_id, event.anonymous_id) == ("", "a1")


def test_the_context_is_kept_without_the_library_and_that_of_the_message_goes_first() -> None:
    context = {"library": {"name": "x"}, "ip": "192.0.2.1", "groupId": "acme"}
    (event,) = parse_batch(
        batch({**ORDER, "context": context}, context={"ip": "0", "locale": "de"}), NOW
    ).events
    assert event.context == {"ip": "192.0.2.1", "locale": "de", "groupId": "acme"}
    assert event.account_id == "acme"


def test_integrations_and_other_fields_of_the_spec_are_ignored() -> None:
    more = {"integrations": {"All": False}, "channel": "server", "version": 2, "writeKey": "k"}
    assert parse_batch(batch({**ORDER, **more}, writeKey="k", integrations={}), NOW).refused == []


def test_the_clock_of_the_batch_is_corrected() -> None:
    skewed = {**ORDER, "timestamp": "1970-01-01T00:00:10Z"}
    (event,) = parse_batch(batch(skewed, sentAt="1970-01-01T00:01:00Z"), NOW).events
    assert event.occurred_at == datetime(2026, 3, 2, 8, 59, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"userId": None}, "`userId` is missing"),
        ({"userId": ""}, "`userId` is missing"),
        ({"userId": "  "}, "`userId` is blank"),
        ({"userId": 5}, "Expected `str | null`, got `int`"),
        ({"anonymousId": ["a"]}, "Expected `str | null`, got `array` - at `$.anonymousId`"),
        ({"event": None}, "`event` is missing"),
        ({"event": ""}, "`event` is missing"),
        ({"event": " "}, "`event` is blank"),
        ({"event": {}}, "got `object` - at `$.event`"),
        ({"type": "nonsense"}, "Invalid enum value 'nonsense'"),
        ({"type": None}, "got `null` - at `$.type`"),
        ({"properties": "none"}, "Expected `object | null`, got `str`"),
        ({"context": []}, "got `array` - at `$.context`"),
        ({"type": "alias"}, "`previousId` is missing"),
        ({"type": "alias", "userId": None, "previousId": "b", "anonymousId": "a"}, "`userId` is missing"),
        ({"type": "group"}, "`groupId` is missing"),
        ({"timestamp": "1970-01-01T00:00:00Z"}, "the clock was not set"),
        ({"timestamp": "2026-03-05T00:00:00Z"}, "lies in the future"),
        ({"timestamp": "2026-03-01T00:00:00"}, "has no time zone"),
        ({"timestamp": "yesterday"}, "is no time"),
        ({"timestamp": 1772442000}, "is the number 1772442000"),
        ({"messageId": "x" * 300}, "`messageId` has 300 characters"),
        ({"userId": "x" * 300}, "`userId` has 300 characters"),
        ({"event": "x" * 300}, "`event` has 300 characters"),
        ({"userId": "an\0n"}, "`user_id` has a NUL character"),
        ({"properties": {"a": [{"b": "\0"}]}}, "`properties.a[0].b` has a NUL character"),
        ({"properties": {"\0": 1}}, "a name in `properties` has a NUL character"),
        ({"properties": {"n": 2**64}}, "`properties.n` is a whole number beyond 64 bits"),
        ({"properties": {"n": 10**400}}, "`properties.n` is a whole number beyond 64 bits"),
        ({"properties": nested(MAX_DEPTH)}, "more than 32 levels deep"),
        ({"properties": {f"k{number}": 1 for number in range(MAX_KEYS + 1)}}, "1001 properties"),
        ({"properties": {f"k{number}": 1 for number in range(10_000)}}, "at most 32768 are taken"),
        ({"context": {f"k{number}": 1 for number in range(MAX_KEYS + 1)}}, "1001 context"),
        ({"properties": {"note": "x" * MAX_MESSAGE_BYTES}}, "at most 32768 are taken"),
        ({"context": {"externalIds": {}}}, "`context.externalIds` must be a list"),
    ],
)
def test_a_wrong_message_is_told_what_is_wrong_and_the_others_are_kept(
    change: dict[str, Any], what: str
) -> None:
    message = json.dumps({**ORDER, **change}, separators=(",", ":")).encode() if change else b""
    parsed = parse_batch(beside(message), NOW)
    assert [event.event_id for event in parsed.events] == ["m2"]
    assert list(parsed.indices) == [1]
    assert [refusal.index for refusal in parsed.refused] == [0]
    assert what in parsed.refused[0].error


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (b"1e999", "Number out of range"),
        (b"[" * 10_000 + b"]" * 10_000, "more than 32 levels deep"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "more than 32 levels deep"),
        (b"9" * 5_000, "Integer value out of range"),
        (b'"\xff"', "invalid start byte"),
        (b'"\xed\xa0\x80"', "invalid continuation byte"),
    ],
)
def test_a_value_that_no_message_can_hold_costs_only_its_message(value: bytes, what: str) -> None:
    parsed = parse_batch(
        beside(b'{"messageId": "m1", "userId": "a", "event": "b", "properties": {"x": ' + value + b"}}"), NOW
    )
    assert [event.event_id for event in parsed.events] == ["m2"]
    assert what in parsed.refused[0].error


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"NaN", None),
        (b"-Infinity", None),
        (b'[NaN, "NaN", 1]', [None, "NaN", 1]),
        (rb'"\ud83d"', "�"),
        (rb'"\ud83d\ude00 \ude00 \\ud800 \u00e9"', "😀 � \\ud800 é"),
    ],
)
def test_what_other_languages_write_instead_of_json_is_mended(value: bytes, kept: Any) -> None:
    raw = b'{"userId": "ann", "event": "seen", "properties": {"x": ' + value + b"}}"
    parsed = parse_batch(beside(raw), NOW)
    assert [event.properties.get("x") for event in parsed.events] == [kept, None]
    assert parse_message(raw, NOW).properties == {"x": kept}


def test_of_equal_names_the_last_counts() -> None:
    raw = b'{"userId": "ann", "userId": "bob", "event": "seen", "properties": {"x": 1, "x": 2}}'
    event = parse_message(raw, NOW)
    assert (event.user_id, event.properties) == ("bob", {"x": 2})


def test_what_is_just_within_the_limits_is_taken() -> None:
    properties = {"n": 2**64 - 1, "m": -(2**63), "deep": nested(MAX_DEPTH - 2), "long": "1" * 400}
    parsed = parse_batch(batch({**ORDER, "properties": properties, "userId": "x" * 255}), NOW)
    assert parsed.refused == []
    assert parsed.events[0].properties == properties


def test_a_refusal_names_the_message() -> None:
    parsed = parse_batch(batch({**ORDER, "userId": None}, 7, {"messageId": 5}), NOW)
    assert [refusal.message_id for refusal in parsed.refused] == ["m1", None, None]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"batch": 1}', b"\xff\xfe", b'{"batch": [{"properties": }]}', b"[" * 200_000],
)
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(EventRefused, match="not a batch"):
        parse_batch(body, NOW)


def test_a_batch_too_large_is_refused() -> None:
    with pytest.raises(ContentTooLarge, match="send smaller ones"):
        parse_batch(b" " * (MAX_BATCH_BYTES + 1), NOW)
    with pytest.raises(EventRefused, match="2501 messages"):
        parse_batch(batch(*[{}] * (MAX_BATCH_MESSAGES + 1)), NOW)
    with pytest.raises(MessageTooLarge):
        parse_message(b" " * (MAX_MESSAGE_BYTES + 1), NOW)


def test_a_wrong_time_of_sending_is_the_whole_batchs() -> None:
    with pytest.raises(EventRefused, match="`sentAt`"):
        parse_batch(batch(ORDER, sentAt="now"), NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*ORDER, "context", "traits", "anonymousId", "sentAt"]), JSON))
def test_any_message_is_taken_or_refused_and_the_one_beside_it_is_kept(change: dict[str, Any]) -> None:
    parsed = parse_batch(beside(json.dumps({**ORDER, **change}).encode()), NOW)
    assert [event.event_id for event in parsed.events][-1] == "m2"
    assert len(parsed.events) + len(parsed.refused) == 2


@given(st.binary())
def test_any_bytes_are_a_batch_or_refused(body: bytes) -> None:
    with pytest.raises(EventRefused):
        parse_batch(body, NOW)
    with pytest.raises(EventRefused):
        parse_message(body, NOW)
