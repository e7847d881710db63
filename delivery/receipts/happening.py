"""The events of users that receipts become."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from audiences.events import Claim, Event
from audiences.identity.models import ANONYMOUS, is_known
from audiences.identity.people import People
from audiences.identity.repository.names import held_by
from delivery.models import Enrolment
from delivery.outbox_repository import Queued
from delivery.receipts.models import Bounce, Told, What

_MAX_AGENT = 1_000


def event_of(
    connection: Connection,
    people: People,
    profile: str,
    name: str,
    *,
    event_id: str,
    properties: Mapping[str, Any],
    context: Mapping[str, Any],
    source: str,
    at: datetime,
    now: datetime,
) -> Event:
    """Return an event of whoever has a profile, whom senders may not know by a user id."""
    person = people.canonical(profile)
    user_id, anonymous_id, claims = (person, None, ()) if is_known(person) else _unnamed(connection, person)
    return Event(
        event_id,
        user_id,
        name,
        properties,
        at,
        now,
        anonymous_id=anonymous_id,
        claims=claims,
        context=context,
        source=source,
    )


def of_message(one: Queued, enrolment: Enrolment) -> dict[str, Any]:
    """Return what every event about a message says: which it is, what it was sent for, by which decision."""
    return {
        "message_id": one.key,
        "campaign": enrolment.playbook,
        "channel": one.channel,
        "variant": enrolment.arm.name,
        "content": one.content,
        "decision_id": enrolment.decision_id,
    }


def of_receipt(told: Told) -> dict[str, Any]:
    """Return what a receipt adds to that."""
    said: dict[str, Any] = {
        name: value
        for name, value in (("link", told.link), ("text", told.text), ("reason", told.reason))
        if value
    }
    if told.what is What.BOUNCED:
        said["bounce"] = told.bounce.value
        said["hard"] = told.bounce is Bounce.HARD
    return said


def context_of(told: Told) -> dict[str, Any]:
    """Return who fetched something, by which machines are told from people."""
    if told.what not in (What.OPENED, What.CLICKED, What.UNSUBSCRIBED):
        return {}
    named = {"userAgent": told.user_agent[:_MAX_AGENT], "ip": told.ip}
    return {name: value for name, value in named.items() if value}


def _unnamed(connection: Connection, profile: str) -> tuple[str, str | None, tuple[Claim, ...]]:
    """Return by what somebody is named whose user id is not known: the anonymous id, or all identities."""
    anonymous = profile.removeprefix(ANONYMOUS)
    if not anonymous.startswith(":"):
        return "", anonymous, ()
    number, _, rest = anonymous[1:].partition(":")
    if number.isdigit():
        return "", rest, ()
    claims = [
        Claim(one.identity.kind, one.identity.value, one.verified) for one in held_by(connection, [profile])
    ]
    return "", None, tuple(claims)
