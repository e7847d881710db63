"""Tables of users, audiences and tags."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

users = Table(
    "users",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("first_seen_at", Instant, nullable=False),
)

# Who is in an audience now; how it came about is in the ledger (entered, left).
members = Table(
    "audience_members",
    metadata,
    Column("audience", String(64), primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("entered_at", Instant, nullable=False),
)

# The latest evaluation of each audience.
runs = Table(
    "audience_runs",
    metadata,
    Column("audience", String(64), primary_key=True),
    Column("as_of", Instant, nullable=False),
    Column("size", Integer, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("tag", String(64), primary_key=True),
    Column("source", Text, nullable=False),
    Column("set_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Index("ix_tags_tag", "tag"),
)
