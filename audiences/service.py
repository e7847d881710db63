"""Tags on users, and what rules over users may speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import pyarrow as pa
from sqlalchemy import Connection

from audiences import repository
from audiences.accounts.primary import Accounts
from audiences.rules import Schema, Type
from feature_repo.aggregates import ACCOUNT_PREFIX, FeatureType
from feature_repo.schema import Scalar
from feature_repo.specs import Specs
from feature_repo.store import FeatureRepository
from storage import ledger
from storage.ids import new_id
from storage.ledger import Kind, NewFact

SERVICE = "audience_rules"
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


# What names of an account's features and traits begin with in rules.
OF_ACCOUNT = "account."


def rule_schema(specs: Specs, traits: Mapping[str, Scalar] | None = None) -> Schema:
    """Return what rules over users may speak of: the features of the service `audience_rules`, and tags.

    Features of a view of accounts are those of the user's primary account, `account.orders_12w`; `traits`
    are traits of accounts by name, `account.tier`.
    """
    names = {name: _TYPES[type_] for name, type_ in rule_features(specs, traits).items()}
    return Schema(names, tags=True, audiences=False)


def online_schema(specs: Specs, service: str) -> Schema:
    """Return what rules over the features of a service that is read online may speak of, and tags."""
    return Schema({name: _TYPES[spec.type] for name, spec in specs.features_of(service).items()})


def rule_features(specs: Specs, traits: Mapping[str, Scalar] | None = None) -> dict[str, FeatureType]:
    """Return the features and traits that rules may name, by the names they use, and their types."""
    said = _said(specs)
    features = {said[name]: spec.type for name, spec in specs.features_of(SERVICE).items()}
    return features | {OF_ACCOUNT + name: type_ for name, type_ in (traits or {}).items()}


def read_values(
    features: FeatureRepository, users: Sequence[str], as_of: datetime, accounts: Accounts
) -> pa.Table:
    """Return what rules may speak of, tags aside: a row a user in their order, by the names rules use.

    Traits of accounts are as they are now, features as of `as_of`.

    Raises:
        feature_repo.errors.SnapshotMissing: no features were computed yet.
    """
    of_users = accounts.of(users)
    of_rows = [of_users.get(user) for user in users]
    return values_of(features, users, as_of, of_rows, accounts.traits(of_rows))


def values_of(
    features: FeatureRepository,
    users: Sequence[str],
    as_of: datetime,
    of_rows: Sequence[str | None],
    traits: Mapping[str, pa.Array],
) -> pa.Table:
    """Return the same as `read_values` where each user's account, and the traits of these, are known."""
    of_users = {user: account for user, account in zip(users, of_rows, strict=True) if account is not None}
    return _as_said(features, features.historical(SERVICE, users, as_of, of_users), traits)


def read_account_values(
    features: FeatureRepository, account_ids: Sequence[str], as_of: datetime, accounts: Accounts
) -> pa.Table:
    """Return what rules may speak of accounts: a row an account in their order, by the names rules use."""
    table = features.historical_of_accounts(SERVICE, account_ids, as_of)
    return _as_said(features, table, accounts.traits(account_ids))


def _as_said(features: FeatureRepository, table: pa.Table, traits: Mapping[str, pa.Array]) -> pa.Table:
    said = _said(features.specs)
    table = table.rename_columns([said.get(name, name) for name in table.column_names])
    for name, column in traits.items():
        table = table.append_column(OF_ACCOUNT + name, column)
    return table


def _said(specs: Specs) -> dict[str, str]:
    return {
        feature.name: OF_ACCOUNT + feature.name.removeprefix(ACCOUNT_PREFIX)
        if view.of_accounts
        else feature.name
        for view in specs.views_of(SERVICE)
        for feature in view.features
    }
