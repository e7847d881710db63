"""Firing: one fact for a cause, and what it does at once; pure but for the transaction it is written in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from audiences.service import set_tags
from audiences.triggers import repository
from audiences.triggers.definitions import Trigger
from audiences.triggers.repository import Last, Used
from storage import ledger
from storage.ledger import Kind, NewFact


class Cause(NamedTuple):
    """Why a trigger fires for a user: `key` is the same whenever the same thing is the cause.

    `at` is when it came about, `used` the event that completed a count.
    """

    user_id: str
    key: str
    at: datetime
    used: Used | None = None


class Firing(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the fact that a trigger fired: its cause, and when that came about. `by` says who, by hand."""

    trigger: str
    cause: str
    caused_at: datetime
    by: str = ""


def fire(
    connection: Connection,
    trigger: Trigger,
    causes: Sequence[Cause],
    inside: Mapping[str, Collection[str]],
    now: datetime,
    *,
    by: str = "",
) -> int:
    """Record that a trigger fires for those causes that count; return how many did.

    A cause counts once, for a user in the trigger's audience, not sooner than `again` after the last time,
    and not when it came about longer ago than `fresh`.

    Args:
        inside: audiences of the users concerned.
    """
    spec = trigger.spec
    last = repository.last_firings(connection, spec.id, {cause.user_id for cause in causes})
    fired: dict[str, Last] = {}
    new: list[NewFact] = []
    for cause in sorted(causes, key=lambda one: one.at):
        user = cause.user_id
        before = fired.get(user) or last.get(user)
        if spec.audience is not None and spec.audience not in inside.get(user, ()):
            continue
        if spec.oldest is not None and cause.at < now - spec.oldest:
            continue
        if spec.again is not None and before is not None and now < before.fired_at + spec.again:
            continue
        fired[user] = Last(now, cause.used or (before.used if before else None))
        # A user may have several causes with one key, several users the same.
        fact_id = f"{spec.id}:{user}:{cause.key}"
        new.append(
            NewFact(Kind.TRIGGER, fact_id, spec.id, user, cause.at, Firing(spec.id, cause.key, cause.at, by))
        )
    recorded = ledger.append_unless_known(connection, new, now)
    users = sorted({fact.user_id for fact in new if fact.id in recorded and fact.user_id is not None})
    repository.keep_firings(connection, spec.id, {user: fired[user] for user in users})
    if spec.tag is not None and users:
        expires_at = now + spec.tag.expires_after if spec.tag.expires_after else None
        set_tags(connection, users, spec.tag.tag, f"trigger:{spec.id}", now, expires_at)
    return len(recorded)
