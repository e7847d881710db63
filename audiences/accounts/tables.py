"""Tables of accounts."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text

from storage.schema import metadata
from storage.times import Instant

# `traits` is JSON; `updated_at` is the moment of the message that they were last taken from.
accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("traits", Text, nullable=False),
    Column("first_seen_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

# Which profile belongs to which account, since when, when it was last said; `chosen_at` when an operator
# made it the user's primary one.
account_members = Table(
    "account_members",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("since", Instant, nullable=False),
    Column("named_at", Instant, nullable=False),
    Column("chosen_at", Instant),
    Index("ix_account_members_user_id", "user_id"),
)
