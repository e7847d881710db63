"""Tables of users and tags."""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

users = Table(
    "users",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("first_seen_at", Instant, nullable=False),
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
