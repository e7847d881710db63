"""Tables of stages: where each user, and each account, stands in each lifecycle of its kind."""

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

account_standings = Table(
    "account_stage_standings",
    metadata,
    Column("lifecycle", String(64), primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("stage", String(64), nullable=False),
    Column("since", Instant, nullable=False),
    Index("ix_account_stage_standings_account_id", "account_id"),
)
