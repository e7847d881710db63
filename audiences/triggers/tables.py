"""Tables of triggers: when each fired for whom, what waits for silence, how far calendars were followed."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

# The last time for each user, and the event that completed the count that fired then.
firings = Table(
    "trigger_firings",
    metadata,
    Column("trigger", String(64), primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("fired_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("used_seq", BigInteger),
    Index("ix_trigger_firings_user_id", "user_id"),
)

# Events after which something must stay away; a newer one takes the place of an older one.
waits = Table(
    "trigger_waits",
    metadata,
    Column("trigger", String(64), primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("cause", Text, nullable=False),
    Column("caused_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Index("ix_trigger_waits_due_at", "due_at"),
    Index("ix_trigger_waits_user_id", "user_id"),
)

# Up to which moment a trigger's dates or schedule have been looked at.
followed = Table(
    "trigger_followed",
    metadata,
    Column("trigger", String(64), primary_key=True),
    Column("through", Instant, nullable=False),
)
