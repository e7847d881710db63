"""The table of keys."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

# One row for every key there ever was; `scopes` are separated by spaces.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
    Column("rotated_from", String(16)),
    Column("person", String(64)),
)
