"""The table of controls."""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

# What was ever stopped, as it stands now; `mode` is `off` once nothing waits because of it any more.
controls = Table(
    "controls",
    metadata,
    Column("scope", String(16), primary_key=True),
    Column("target", Text, primary_key=True),
    Column("mode", String(8), nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Index("ix_controls_mode", "mode"),
)
