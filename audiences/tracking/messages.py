"""Messages of the Segment tracking spec, checked one by one and made into events.

https://segment.com/docs/connections/spec/ names the fields. A wrong message is refused with what is wrong
with it; the valid ones beside it are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from audiences.errors import ContentTooLarge, EventRefused, MessageTooLarge
from audiences.events import LABELS, Event, MessageType
from audiences.identity.ids import check_ids
from audiences.tracking.claims import CLAIMED, claims_of
from audiences.tracking.json_text import mended
from audiences.tracking.limits import (
    MAX_BATCH_BYTES,
    MAX_BATCH_MESSAGES,
    MAX_DEPTH,
    MAX_ID_LENGTH,
    MAX_INTEGER,
    MAX_KEYS,
    MAX_MESSAGE_BYTES,
    MIN_INTEGER,
)
from audiences.tracking.moments import Stamp, moment, occurred_at
from storage.ids import new_id

T = TypeVar("T")

# A batch's messages lie in a list in an object.
_BATCH_DEPTH = 2
# Digits enough that a whole number may be beyond 64 bits; looked for among zeros, which is much faster
# than a regular expression.
_LONG_NUMBER = b"0" * 19
_DIGITS_TO_ZEROS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
# The context's name of the SDK that sent a message says nothing of who did what.
_NOT_KEPT = CLAIMED | {"library"}


class Refusal(msgspec.Struct, frozen=True):
    """Why one message of a batch was refused; `index` is its place in the batch, from 0."""

    index: int
    message_id: str | None
    error: str


class Parsed(msgspec.Struct, frozen=True):
    """The valid events of a batch with their places in it, and why the others were refused."""

    events: list[Event]
    indices: Sequence[int]
    refused: list[Refusal]


class _Message(msgspec.Struct, rename="camel"):
    type: MessageType = "track"
    message_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    previous_id: str | None = None
    group_id: str | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    timestamp: Stamp = None
    original_timestamp: Stamp = None
    sent_at: Stamp = None


class _Batch(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    context: dict[str, Any] | None = None
    sent_at: Stamp = None


class _Identified(msgspec.Struct, rename="camel"):
    message_id: str | None = None


_decode_message = msgspec.json.Decoder(_Message).decode
_decode_batch = msgspec.json.Decoder(_Batch).decode


def parse_batch(body: bytes, now: datetime, source: str = "") -> Parsed:
    """Return the valid events of a `/v1/batch` body and why the others were refused.

    Raises:
        EventRefused: the body is no batch, has too many messages, or its `sentAt` is wrong.
        ContentTooLarge: it has more bytes than a batch may have.
    """
    if len(body) > MAX_BATCH_BYTES:
        raise ContentTooLarge(
            f"the batch has {len(body)} bytes, at most {MAX_BATCH_BYTES} are taken: send smaller ones"
        )
    try:
        batch = _read(_decode_batch, body, MAX_DEPTH + _BATCH_DEPTH)
    except EventRefused as error:
        raise EventRefused(f'not a batch: {error}; send {{"batch": [{{"type": "track", …}}]}}') from error
    if len(batch.batch) > MAX_BATCH_MESSAGES:
        raise EventRefused(
            f"the batch has {len(batch.batch)} messages, at most {MAX_BATCH_MESSAGES} are taken: "
            "send smaller ones"
        )
    sent_at = moment("sentAt", batch.sent_at)
    events: list[Event] = []
    indices: list[int] = []
    refused: list[Refusal] = []
    for index, raw in enumerate(batch.batch):
        try:
            events.append(parse_message(bytes(raw), now, source, context=batch.context, sent_at=sent_at))
            indices.append(index)
        except EventRefused as error:
            refused.append(Refusal(index, _message_id(raw), str(error)))
    return Parsed(events, indices, refused)


def parse_message(
    body: bytes,
    now: datetime,
    source: str = "",
    *,
    type_: MessageType | None = None,
    context: Mapping[str, Any] | None = None,
    sent_at: datetime | None = None,
) -> Event:
    """Return the event of one message.

    Args:
        source: who sends it.
        type_: what the route says it is, instead of the message's own `type`.
        context: of its batch; the message's own goes before it.
        sent_at: when its batch was sent, by the sender's clock; goes before the message's own `sentAt`.

    Raises:
        EventRefused: it is not JSON, or a field is missing or wrong.
        MessageTooLarge: it has more bytes than a message may have.
    """
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(f"the message has {len(body)} bytes, at most {MAX_MESSAGE_BYTES} are taken")
    try:
        message = _read(_decode_message, body, MAX_DEPTH)
    except EventRefused as error:
        raise EventRefused(f"not a valid message: {error}") from error
    if _suspicious(body):
        _check(message)
    type_ = type_ or message.type
    whole = {**(context or {}), **(message.context or {})}
    traits = message.traits or {}
    name, properties = _said(message, type_)
    user_id, anonymous_id = _id("userId", message.user_id), _id("anonymousId", message.anonymous_id)
    previous_id = _id("previousId", message.previous_id) if type_ == "alias" else None
    account_id = _id("groupId", message.group_id or _text(whole.get("groupId")))
    if type_ == "group" and not account_id:
        raise EventRefused("`groupId` is missing: say which account the user belongs to")
    for field, values in (("properties", properties), ("context", whole)):
        if len(values) > MAX_KEYS:
            raise EventRefused(f"the message has {len(values)} {field}, at most {MAX_KEYS} are taken")
    event = Event(
        event_id=_id("messageId", message.message_id) or new_id(now),
        user_id=user_id or "",
        name=name,
        properties=properties,
        occurred_at=occurred_at(
            now,
            timestamp=message.timestamp,
            original=message.original_timestamp,
            sent_at=sent_at or moment("sentAt", message.sent_at),
        ),
        received_at=now,
        type=type_,
        anonymous_id=anonymous_id,
        claims=claims_of(whole, traits if type_ == "identify" else {}) if whole or traits else (),
        account_id=account_id,
        previous_id=previous_id,
        context={key: value for key, value in whole.items() if key not in _NOT_KEPT} if whole else {},
        source=source,
    )
    check_ids(event)
    return event


def _read(decode: Callable[[bytes], T], body: bytes, max_depth: int) -> T:
    """Decode a body, mended where it is no JSON.

    Raises:
        EventRefused: it can't be read even so.
    """
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise EventRefused(str(error)) from error
    except (ValueError, RecursionError):
        pass
    try:
        return decode(mended(body, max_depth))
    except (ValueError, RecursionError) as error:
        raise EventRefused(str(error)) from error


def _said(message: _Message, type_: MessageType) -> tuple[str, dict[str, Any]]:
    """Return the name under which a message is kept, and its properties."""
    if type_ == "track":
        name = _id("event", message.event)
        if name is None:
            raise EventRefused('`event` is missing: name what the user did, for example "order_completed"')
        return name, message.properties or {}
    if type_ in ("identify", "group"):
        return LABELS[type_], message.traits or {}
    properties = message.properties or {}
    if type_ != "alias":
        for field, value in (("name", message.name), ("category", message.category)):
            if value:
                properties.setdefault(field, value)
    return LABELS[type_], properties


def _id(field: str, value: str | None) -> str | None:
    """Return an id as it is, None if it is empty."""
    if not value:
        return None
    if len(value) > MAX_ID_LENGTH:
        raise EventRefused(f"`{field}` has {len(value)} characters, at most {MAX_ID_LENGTH} are taken")
    if value.isspace():
        raise EventRefused(f"`{field}` is blank")
    return value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _suspicious(body: bytes) -> bool:
    """Whether a message may hold what can't be kept; looking at its bytes is cheaper than at its values."""
    return (
        body.count(b"{") + body.count(b"[") > MAX_DEPTH
        or b"\\u0000" in body
        or _LONG_NUMBER in body.translate(_DIGITS_TO_ZEROS)
    )


def _check(message: _Message) -> None:
    """Refuse NUL characters, whole numbers beyond 64 bits, and values too deep inside each other."""
    values = msgspec.structs.asdict(message)
    waiting: list[tuple[str, Any, int]] = [(name, value, 2) for name, value in values.items()]
    while waiting:
        where, value, depth = waiting.pop()
        if isinstance(value, str):
            if "\0" in value:
                raise EventRefused(
                    f"`{where}` has a NUL character (\\u0000), which can't be kept: leave it out"
                )
        elif isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
            raise EventRefused(f"`{where}` is a whole number beyond 64 bits: send it as text")
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise EventRefused(f"`{where}` lies more than {MAX_DEPTH} levels deep")
            waiting += _inside(where, value, depth + 1)


def _inside(where: str, value: dict[str, Any] | list[Any], depth: int) -> Iterator[tuple[str, Any, int]]:
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield f"{where}[{index}]", one, depth
        return
    for key, one in value.items():
        if "\0" in key:
            raise EventRefused(f"a name in `{where}` has a NUL character (\\u0000), which can't be kept")
        yield f"{where}.{key}", one, depth


def _message_id(raw: msgspec.Raw) -> str | None:
    try:
        value = msgspec.json.decode(raw, type=_Identified)
    except (ValueError, RecursionError):
        return None
    return value.message_id[:MAX_ID_LENGTH] if value.message_id else None
