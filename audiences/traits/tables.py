"""The table of traits."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

# The latest word of each source; `value` is JSON.
traits = Table(
    "traits",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("source", String(80), primary_key=True),
    Column("value", Text, nullable=False),
    Column("at", Instant, nullable=False),
)
