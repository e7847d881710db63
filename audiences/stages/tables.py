"""Table of stages: where each user stands in each lifecycle."""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

standings = Table(
    "stage_standings",
    metadata,
    Column("lifecycle", String(64), primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("stage", String(64), nullable=False),
    Column("since", Instant, nullable=False),
    Index("ix_stage_standings_user_id", "user_id"),
)
