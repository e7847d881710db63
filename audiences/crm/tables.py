"""Tables of what CRMs told."""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

# The latest version of each object; `fields` is JSON.
crm_objects = Table(
    "crm_objects",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("type", Text, primary_key=True),
    Column("object_id", Text, primary_key=True),
    Column("updated_at", Instant, nullable=False),
    Column("digest", String(16), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Index("ix_crm_objects_user_id", "user_id"),
)

# Webhooks by their ids: taken ones for as long as they may be sent again, those that could not be read
# (with their body and why) until they are replayed.
crm_inbox = Table(
    "crm_inbox",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("webhook_id", Text, primary_key=True),
    Column("received_at", Instant, nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", Text),
    Column("body", Text),
    Index("ix_crm_inbox_state_received_at", "state", "received_at"),
)
