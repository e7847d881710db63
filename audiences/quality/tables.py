"""Tables of data quality."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from storage.schema import metadata
from storage.times import Instant

# What came in by source, event name and hour of arrival, in `part`s that writers at once do not share.
# `released` of the accepted had been set aside before, `imported` of them are history, `late` of them came
# long after they happened. `last_at` is the latest arrival, `minutes` in how many minutes of the hour there
# was one; neither knows of imports.
arrivals = Table(
    "arrivals",
    metadata,
    Column("hour", Instant, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("accepted", BigInteger, nullable=False),
    Column("duplicate", BigInteger, nullable=False),
    Column("conflict", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("machine", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("late", BigInteger, nullable=False),
    Column("released", BigInteger, nullable=False),
    Column("imported", BigInteger, nullable=False),
    Column("minutes", Integer, nullable=False),
    Column("last_at", Instant),
)

# Which properties events of a name ever had, and in how many events.
event_properties = Table(
    "event_properties",
    metadata,
    Column("event", Text, primary_key=True),
    Column("property", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("last_at", Instant, nullable=False),
)
