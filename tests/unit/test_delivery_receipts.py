"""Receipts as providers write them: our own form, Twilio's callbacks, words that end text messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiences.errors import PayloadUnreadable, WebhookRefused
from delivery.models import MessageState
from delivery.receipts import reading, twilio
from delivery.receipts.models import Bounce, Texted, Told, Unreadable, What
from delivery.receipts.states import further
from delivery.receipts.words import Meaning, meaning

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def read(payload: Any) -> Any:
    (one,) = reading.read(json.dumps(payload).encode(), "wh_1", NOW)
    return one


def test_a_receipt_is_read_with_its_own_id_and_time() -> None:
    sent = {"type": "bounced", "id": "e1", "timestamp": "2026-03-02T09:30:00+01:00", "message_id": "k"}
    assert read(sent | {"bounce": "soft", "reason": "full"}) == Told(
        "e1", What.BOUNCED, NOW - timedelta(minutes=30), "k", bounce=Bounce.SOFT, reason="full"
    )
    assert read({"type": "opened", "reference": "r"}) == Told("wh_1", What.OPENED, NOW, reference="r")
    ahead = read({"type": "opened", "timestamp": "2026-03-03T09:00:00Z"})
    assert ahead.at == NOW
    assert read({"type": "received", "from": "+49151", "text": "hi"}) == Texted("wh_1", "+49151", "hi", NOW)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"type": "deliverd"}, "did you mean 'delivered'?"),
        ({"id": "x"}, "missing required field `type`"),
        ({"type": "opened", "id": 7}, "Expected `str`, got `int` - at `$.id`"),
        ({"type": "opened", "id": "x" * 201}, "length <= 200"),
        ({"type": "opened", "timestamp": "2026-03-02T09:00:00"}, "timezone"),
        ({"type": "opened", "timestamp": "1970-01-01T00:00:00Z"}, "the clock was not set"),
        ({"type": "bounced", "bounce": "hardly"}, "Invalid enum value 'hardly'"),
        ({"type": "opened", "message_id": "a\x00b"}, "`message_id` has a control character"),
        ({"type": "received", "text": "stop"}, "`from` is missing"),
        ([1], "Expected `object`"),
    ],
)
def test_what_is_wrong_with_a_receipt_is_said_and_the_others_are_read(sent: Any, said: str) -> None:
    body = json.dumps({"receipts": [sent, {"type": "opened", "id": "good"}]}).encode()
    wrong, good = reading.read(body, "wh_1", NOW)
    assert isinstance(wrong, Unreadable)
    assert said in wrong.reason
    assert good.event_id == "good"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\xff", b'{"receipts": []}', b'{"receipts": {}}', b"[" * 100_000]
)
def test_a_body_that_holds_no_receipts_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadUnreadable):
        reading.read(body, "wh_1", NOW)


# The example of Twilio's documentation of signatures.
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
PARAMETERS = {
    "CallSid": ["CA1234567890ABCDE"],
    "Caller": ["+14158675309"],
    "Digits": ["1234"],
    "From": ["+14158675309"],
    "To": ["+18005551212"],
}
SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_twilios_signature_is_the_one_of_its_documentation() -> None:
    signatures = twilio.TwilioSignatures({"sms": ["old", "12345"]})
    signatures.verify("sms", URL, PARAMETERS, SIGNATURE)
    for channel, url, parameters, signature in (
        ("push", URL, PARAMETERS, SIGNATURE),
        ("sms", URL + "3", PARAMETERS, SIGNATURE),
        ("sms", URL, PARAMETERS | {"Digits": ["1235"]}, SIGNATURE),
        ("sms", URL, PARAMETERS, "é" + SIGNATURE),
        ("sms", URL, PARAMETERS, ""),
    ):
        with pytest.raises(WebhookRefused):
            signatures.verify(channel, url, parameters, signature)


def callback(**fields: str) -> Any:
    return twilio.read({name: [value] for name, value in fields.items()}, NOW)


def test_twilios_callbacks_say_what_became_of_a_message() -> None:
    ours = {"MessageSid": "SM1", "To": "+49151"}
    assert callback(MessageStatus="sent", **ours) is None
    assert callback(MessageStatus="delivered", **ours) == Told(
        "SM1:delivered", What.DELIVERED, NOW, reference="SM1", address="+49151", bounce=Bounce.SOFT
    )
    unknown = callback(MessageStatus="undelivered", ErrorCode="30005", **ours)
    assert (unknown.what, unknown.bounce, unknown.reason) == (What.BOUNCED, Bounce.HARD, "error 30005")
    assert callback(MessageStatus="undelivered", ErrorCode="30003", **ours).bounce is Bounce.SOFT
    inbound = callback(MessageSid="SM2", SmsStatus="received", From="+49151", Body="Stop")
    assert inbound == Texted("SM2", "+49151", "Stop", NOW)
    for wrong in ({"MessageStatus": "sent"}, {"MessageSid": "SM1"}, ours | {"MessageStatus": "lost"}):
        with pytest.raises(PayloadUnreadable):
            callback(**wrong)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("STOP", Meaning.STOP),
        (" stop. ", Meaning.STOP),
        ("Stop all", Meaning.STOP),
        ("arrêt", Meaning.STOP),
        ("unstop", Meaning.START),
        ("Don't stop", Meaning.TEXT),
        ("stop " * 1_000, Meaning.TEXT),
        ("", Meaning.TEXT),
    ],
)
def test_a_word_alone_ends_text_messages(text: str, means: Meaning) -> None:
    assert meaning(text) is means


@settings(max_examples=50)
@given(st.lists(st.sampled_from(list(MessageState)), min_size=1, max_size=6), st.randoms())
def test_the_state_of_a_message_is_the_same_in_whatever_order_receipts_come(
    states: list[MessageState], random: Any
) -> None:
    def after(order: list[MessageState]) -> MessageState:
        state = MessageState.QUEUED
        for one in order:
            state = further(state, one)
        return state

    shuffled = list(states)
    random.shuffle(shuffled)
    assert after(shuffled) is after(states)
