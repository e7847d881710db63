"""Tables of clicks that wait to be told apart."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text, text

from storage.schema import metadata
from storage.times import Instant

_WAITING = text("state = 'waiting'")

# Each click soon after delivery; `state` is waiting, person or machine. Settled ones are kept for a few days.
held_clicks = Table(
    "held_clicks",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("user_id", Text),
    Column("message_id", Text, nullable=False),
    Column("link", Text, nullable=False),
    Column("links", Integer),
    Column("due_at", Instant, nullable=False),
    Column("state", String(8), nullable=False),
    Index("ix_held_clicks_due_at", "due_at", sqlite_where=_WAITING, postgresql_where=_WAITING),
    Index("ix_held_clicks_message_id", "message_id"),
    Index("ix_held_clicks_user_id", "user_id"),
)
