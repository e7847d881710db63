"""Receipts in the form of our own: JSON, signed as Standard Webhooks says. One, or a list of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from audiences.errors import PayloadUnreadable
from audiences.events import EARLIEST
from audiences.texts import writable
from delivery.receipts.models import MAX_ID, Bounce, Incoming, Texted, Told, Unreadable, What
from playbooks.suggesting import closest

MAX_RECEIPTS = 100
_RECEIVED = "received"
_TYPES = (*(one.value for one in What), _RECEIVED)

_Id = Annotated[str, msgspec.Meta(max_length=MAX_ID)]
_Short = Annotated[str, msgspec.Meta(max_length=500)]
_Long = Annotated[str, msgspec.Meta(max_length=10_000)]
_Aware = Annotated[datetime, msgspec.Meta(tz=True)]


class _Sent(msgspec.Struct, frozen=True):
    type: str
    id: _Id = ""
    timestamp: _Aware | None = None
    message_id: _Id = ""
    reference: _Id = ""
    address: _Short = ""
    bounce: Bounce = Bounce.HARD
    reason: _Long = ""
    link: _Long = ""
    text: _Long = ""
    user_agent: _Long = ""
    ip: _Short = ""
    sender: _Short = msgspec.field(name="from", default="")


def read(body: bytes, webhook_id: str, now: datetime) -> Sequence[Incoming]:
    """Return the receipts of a body; each that can't be read as such, with the reason.

    Args:
        webhook_id: of the request, for a receipt without an id of its own.

    Raises:
        PayloadUnreadable: it is no JSON object, or has no receipts, or too many.
    """
    try:
        payload = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadUnreadable(f"the body is no JSON object: {error}") from error
    listed = payload.get("receipts")
    if listed is None:
        return [_read(payload, webhook_id, now)]
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_RECEIPTS:
        raise PayloadUnreadable(f"`receipts` is a list of 1 to {MAX_RECEIPTS} receipts")
    return [_read(one, f"{webhook_id}:{index}", now) for index, one in enumerate(listed)]


def _read(sent: Any, own_id: str, now: datetime) -> Incoming:
    try:
        one = msgspec.convert(sent, _Sent)
        if one.type not in _TYPES:
            raise msgspec.ValidationError(f"there is no `type` {one.type[:64]!r}{closest(one.type, _TYPES)}")
        _check_texts(one)
        at = _moment(one.timestamp, now)
        if one.type == _RECEIVED and not one.sender:
            raise msgspec.ValidationError("`from` is missing: say who sent it")
    except msgspec.ValidationError as error:
        given = sent.get("id") if isinstance(sent, dict) else None
        fits = isinstance(given, str) and 0 < len(given) <= MAX_ID and writable(given)
        body = msgspec.json.encode(sent).decode()
        return Unreadable(str(given) if fits else own_id, now, str(error), body)
    event_id = one.id or own_id
    if one.type == _RECEIVED:
        return Texted(event_id, one.sender, one.text, at)
    return Told(
        event_id,
        What(one.type),
        at,
        one.message_id,
        one.reference,
        one.address,
        one.bounce,
        one.reason,
        one.link,
        one.text,
        one.user_agent,
        one.ip,
    )


def _check_texts(one: _Sent) -> None:
    for name in one.__struct_fields__:
        value = getattr(one, name)
        if isinstance(value, str) and not writable(value, lines=True):
            raise msgspec.ValidationError(f"`{name}` has a control character in it: leave it out")


def _moment(at: datetime | None, now: datetime) -> datetime:
    """Return when it happened: now where nobody says, and where a clock goes ahead of ours."""
    if at is None:
        return now
    if at < EARLIEST:
        raise msgspec.ValidationError(f"`timestamp` {at.isoformat()}: the clock was not set")
    return min(at.astimezone(now.tzinfo), now)
