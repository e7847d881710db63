"""Tables of audiences: what they are, who is in them, and the runs that found it out."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text, false

from storage.schema import Sequence64, metadata
from storage.times import Instant

# The stable number of each user, by which bitmaps know it. Numbers are never given again.
numbers = Table(
    "audience_numbers",
    metadata,
    Column("number", Sequence64, primary_key=True, autoincrement=True),
    Column("user_id", Text, nullable=False),
    Index("uq_audience_numbers_user_id", "user_id", unique=True),
    sqlite_autoincrement=True,
)

# Definitions that were made over the API; those of the library's file stay there.
versions = Table(
    "audience_versions",
    metadata,
    Column("audience", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    # Null: retired.
    Column("body", Text),
    Column("made_at", Instant, nullable=False),
    Column("made_by", Text, nullable=False),
)

# Uploaded lists: each upload is a version, the latest counts.
lists = Table(
    "audience_lists",
    metadata,
    Column("audience", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("members", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("unknown", Integer, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("made_by", Text, nullable=False),
)

# Who is in an audience after a run, and who came in and went out by it. `told`: up to which number the
# changes have become facts, first those of `entered`, then those of `left`; null: all of them. `quiet`: they
# start nothing, for the audience began by them, or its definition changed.
bitmaps = Table(
    "audience_bitmaps",
    metadata,
    Column("audience", String(64), primary_key=True),
    Column("run", String(36), primary_key=True),
    Column("members", LargeBinary, nullable=False),
    Column("entered", LargeBinary, nullable=False),
    Column("left", LargeBinary, nullable=False),
    Column("told", BigInteger),
    Column("quiet", Boolean, nullable=False, server_default=false()),
)

# Which run's bitmap is live. `revision` grows with each change that readers must see.
states = Table(
    "audience_states",
    metadata,
    Column("audience", String(64), primary_key=True),
    Column("run", String(36), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("definition", String(32), nullable=False),
    Column("as_of", Instant, nullable=False),
    Column("size", Integer, nullable=False),
)

# Each evaluation. Times are real ones; `as_of` is of the service's clock. `seen`, `position` and `features`
# say what the run had before it: how far the ledger and the features' history had come, which features.
runs = Table(
    "audience_runs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("status", String(8), nullable=False),
    Column("as_of", Instant, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("heartbeat_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("users", Integer, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("features", Text, nullable=False),
    Column("problem", Text),
    Index("ix_audience_runs_started_at", "started_at"),
)
