"""The table of receipts that could not be used."""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

# Kept for some days with the reason and what was told (`body`, JSON), by channel and the provider's id.
stray_receipts = Table(
    "stray_receipts",
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("received_at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_stray_receipts_received_at", "received_at"),
)
