"""Tags on users, and what rules over users may speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from audiences import repository
from audiences.rules import Schema, Type
from feature_repo.aggregates import FeatureType
from feature_repo.specs import Specs
from storage import ledger
from storage.ids import new_id
from storage.ledger import Kind, NewFact

SERVICE = "audience_rules"
ACCOUNT_KEY = "account_id"

_TYPES: Mapping[FeatureType, Type] = {
    "int": Type.NUMBER,
    "float": Type.NUMBER,
    "text": Type.TEXT,
    "bool": Type.BOOL,
    "time": Type.TIMESTAMP,
    "floats": Type.NUMBERS,
}


class Tagging(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the fact that a user was tagged, or that a tag was taken off."""

    tag: str
    source: str
    expires_at: datetime | None = None
    taken_off: bool = False


def set_tag(
    connection: Connection,
    user_id: str,
    tag: str,
    source: str,
    at: datetime,
    expires_at: datetime | None,
) -> None:
    """Put a tag on a user in the caller's transaction; one already there is renewed."""
    set_tags(connection, [user_id], tag, source, at, expires_at)


def set_tags(
    connection: Connection,
    user_ids: Sequence[str],
    tag: str,
    source: str,
    at: datetime,
    expires_at: datetime | None,
) -> None:
    """Put a tag on users and note it in the ledger."""
    row = {"tag": tag, "source": source, "set_at": at, "expires_at": expires_at}
    repository.set_tags(connection, [{"user_id": user_id, **row} for user_id in user_ids])
    body = Tagging(tag, source, expires_at)
    ledger.append(connection, [NewFact(Kind.TAG, new_id(at), tag, user, at, body) for user in user_ids], at)


def take_off(connection: Connection, user_ids: Sequence[str], tag: str, source: str, at: datetime) -> int:
    """Take a tag off users who carry it, and note it in the ledger; return from how many."""
    carrying = repository.take_tags(connection, user_ids, tag, at)
    body = Tagging(tag, source, taken_off=True)
    facts = [NewFact(Kind.TAG, new_id(at), tag, user, at, body) for user in carrying]
    ledger.append(connection, facts, at)
    return len(facts)


def rule_schema(specs: Specs) -> Schema:
    """Return what rules over users may speak of: the features of the service `audience_rules`, and tags.

    Features of a view by account are those of the user's account: `account.tier`.
    """
    names = {
        f"account.{feature.name}" if view.key == ACCOUNT_KEY else feature.name: _TYPES[feature.type]
        for view in specs.views_of(SERVICE)
        for feature in view.features
    }
    return Schema(names, tags=True, audiences=False)
