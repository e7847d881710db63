"""Events as they come in: the messages of the Segment tracking spec, checked one by one.

https://segment.com/docs/connections/spec/ names the fields. A wrong message is refused with what is
wrong with it; the valid ones beside it are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from audiences.errors import EventRefused
from storage.ids import new_id

# Clocks of devices differ; what lies further ahead than this is a mistake, not a difference.
FUTURE_TOLERANCE = timedelta(hours=24)
# Nothing that a customer did was recorded before this; times near 1970 come from unset clocks.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
MAX_MESSAGE_BYTES = 32 * 1024
MAX_BATCH_BYTES = 500 * 1024
MAX_KEYS = 1_000
MAX_ID_LENGTH = 255

# The name under which an `identify` call is kept; its traits are its properties.
IDENTIFY = "identify"


MessageType = Literal["track", "identify", "page", "screen", "group", "alias"]


class Claim(msgspec.Struct, frozen=True):
    """An identity that a message names beside its user: an e-mail address, a phone number, a device.

    `verified` says that the sender vouches that the identity is the user's; only such a one joins users.
    """

    kind: str
    value: str
    verified: bool = False


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something a user did, as a sender tells it.

    `user_id` is what the sender calls the user, empty where only an anonymous id or another identity is
    named; whose it is in the end is found out when it is recorded (`audiences.intake`). `source` names who
    sent it. `previous_id` goes with the type alias, `account_id` with group.
    """

    event_id: str
    user_id: str
    name: str
    properties: Mapping[str, Any]
    occurred_at: datetime
    received_at: datetime
    type: MessageType = "track"
    anonymous_id: str | None = None
    claims: tuple[Claim, ...] = ()
    account_id: str | None = None
    previous_id: str | None = None
    context: Mapping[str, Any] = {}
    source: str = ""


class EventBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ledger keeps of an event beside its id, name, user and times."""

    properties: dict[str, Any] = {}
    type: MessageType = "track"
    context: dict[str, Any] = {}
    source: str = ""
    account_id: str | None = None


class AsideBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ledger keeps of an event that was set aside: all of it, and why."""

    event: Event
    reason: str


class _Message(msgspec.Struct, rename="camel"):
    type: Literal["track", "identify"] = "track"
    message_id: str | None = None
    user_id: str | None = None
    event: str | None = None
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    timestamp: datetime | None = None


class _Batch(msgspec.Struct):
    batch: list[msgspec.Raw]


class Refusal(msgspec.Struct, frozen=True):
    """Why one message of a batch was refused; `index` is its place in the batch, from 0."""

    index: int
    message_id: str | None
    error: str


_decode_message = msgspec.json.Decoder(_Message).decode
_decode_batch = msgspec.json.Decoder(_Batch).decode


def parse_one(body: bytes, type_: str, now: datetime) -> Event:
    """Return the event of a `/v1/track` or `/v1/identify` body.

    Raises:
        EventRefused: it is too large, not JSON, or a field is missing or wrong.
    """
    return _event(body, now, type_)


def parse_batch(body: bytes, now: datetime) -> tuple[list[Event], list[Refusal]]:
    """Return the valid events of a `/v1/batch` body and why the others were refused.

    Raises:
        EventRefused: the body as a whole is too large or is no batch.
    """
    if len(body) > MAX_BATCH_BYTES:
        raise EventRefused(
            f"the batch has {len(body)} bytes, at most {MAX_BATCH_BYTES} are taken: send smaller ones"
        )
    try:
        messages: Sequence[msgspec.Raw] = _decode_batch(body).batch
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EventRefused(f'not a batch: {error}; send {{"batch": [{{"type": "track", …}}]}}') from error
    events: list[Event] = []
    refused: list[Refusal] = []
    for index, raw in enumerate(messages):
        try:
            events.append(_event(bytes(raw), now, None))
        except EventRefused as error:
            refused.append(Refusal(index, _message_id(raw), str(error)))
    return events, refused


def _event(body: bytes, now: datetime, type_: str | None) -> Event:
    if len(body) > MAX_MESSAGE_BYTES:
        raise EventRefused(f"the message has {len(body)} bytes, at most {MAX_MESSAGE_BYTES} are taken")
    try:
        message = _decode_message(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EventRefused(f"not a valid message: {error}") from error
    identify = (type_ or message.type) == IDENTIFY
    name = IDENTIFY if identify else message.event
    properties = message.traits if identify else message.properties
    if not name:
        raise EventRefused('`event` is missing: name what the user did, for example "order_completed"')
    if not message.user_id:
        raise EventRefused("`userId` is missing: say who did it")
    for field, value in (("userId", message.user_id), ("messageId", message.message_id), ("event", name)):
        if value is not None and len(value) > MAX_ID_LENGTH:
            raise EventRefused(f"`{field}` has {len(value)} characters, at most {MAX_ID_LENGTH} are taken")
    if len(properties) > MAX_KEYS:
        raise EventRefused(f"the message has {len(properties)} properties, at most {MAX_KEYS} are taken")
    return Event(
        event_id=message.message_id or new_id(now),
        user_id=message.user_id,
        name=name,
        properties=properties,
        occurred_at=_occurred_at(message.timestamp, now),
        received_at=now,
    )


def _occurred_at(timestamp: datetime | None, now: datetime) -> datetime:
    if timestamp is None:
        return now
    if timestamp.tzinfo is None:
        raise EventRefused(f"`timestamp` {timestamp.isoformat()} has no time zone: append Z or an offset")
    moment = timestamp.astimezone(UTC)
    if moment > now + FUTURE_TOLERANCE:
        raise EventRefused(f"`timestamp` {moment.isoformat()} lies in the future (it is {now.isoformat()})")
    if moment < EARLIEST:
        raise EventRefused(
            f"`timestamp` {moment.isoformat()} lies before {EARLIEST.date()}: the clock was not set"
        )
    return moment


def _message_id(raw: msgspec.Raw) -> str | None:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    found = value.get("messageId") if isinstance(value, dict) else None
    return found if isinstance(found, str) else None
