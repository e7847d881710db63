"""Table of the inbox."""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

# Messages in the app, by the key under which they were handed over.
inbox = Table(
    "inbox",
    metadata,
    Column("key", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("channel", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("arrived_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("read_at", Instant),
    Column("dismissed_at", Instant),
    Index("ix_inbox_user_id_arrived_at_key", "user_id", "arrived_at", "key"),
    Index("ix_inbox_expires_at", "expires_at"),
)
