"""Tables of scores: what gave points, which rules hold, where each user stands, when each score began."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, Text, text

from storage.schema import metadata
from storage.times import Instant

# Each event that gave points, under the profile it came through; never changed.
grants = Table(
    "score_grants",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("score", String(64), primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("line", String(64), primary_key=True),
    Column("occurred_at", Instant, nullable=False),
    Column("points", Float(53), nullable=False),
)

# The rules over features that give points, and to whom at present.
holding = Table(
    "score_holding",
    metadata,
    Column("score", String(64), primary_key=True),
    Column("line", String(64), primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("since", Instant, nullable=False),
    Index("ix_score_holding_user_id", "user_id"),
)

_DUE = text("due_at IS NOT NULL")

standings = Table(
    "score_standings",
    metadata,
    Column("score", String(64), primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("rank", Integer, nullable=False),
    Column("since", Instant, nullable=False),
    Column("status", String(12), nullable=False),
    Column("answered_at", Instant),
    Column("held_rank", Integer, nullable=False),
    Column("held_until", Instant),
    Column("counted_from", Instant),
    Column("due_at", Instant),
    Index("ix_score_standings_due_at", "due_at", sqlite_where=_DUE, postgresql_where=_DUE),
    Index("ix_score_standings_user_id", "user_id"),
)

# What was there when a score began is counted quietly: facts up to `quiet_through`. Those up to `until` had
# been passed by the reader of all scores; they are taken separately, and are so up to `taken`. A line whose
# rule was evaluated at least once is here too, under its id; a score itself under the empty one.
beginnings = Table(
    "score_beginnings",
    metadata,
    Column("score", String(64), primary_key=True),
    Column("line", String(64), primary_key=True),
    Column("quiet_through", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("taken", BigInteger, nullable=False),
)
