"""Tables of identity."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

# Which profile holds which identity; one row for each, from its first message on.
identities = Table(
    "identities",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("value", Text, primary_key=True),
    Column("profile", Text, primary_key=True),
    Column("verified", Boolean, nullable=False),
    Column("first_seen_at", Instant, nullable=False),
    Column("source", Text, nullable=False),
    Index("ix_identities_profile", "profile"),
)

# Identities that join nobody: too many hold them, or a join by them was taken back.
shared_identities = Table(
    "shared_identities",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("value", Text, primary_key=True),
    Column("since", Instant, nullable=False),
    Column("reason", Text, nullable=False),
)

# The profiles of an anonymous id, one for each user of it; the one with the highest `chosen` is current.
anonymous_profiles = Table(
    "anonymous_profiles",
    metadata,
    Column("anonymous_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("profile", Text, nullable=False),
    Column("chosen", BigInteger, nullable=False),
    Index("ix_anonymous_profiles_profile", "profile"),
    Index("ix_anonymous_profiles_chosen", "chosen"),
)

# Joins of two profiles; one that was taken back stays, so that it is not made again.
joins = Table(
    "identity_joins",
    metadata,
    Column("id", Text, primary_key=True),
    Column("profile", Text, nullable=False),
    Column("into_profile", Text, nullable=False),
    Column("cause", String(16), nullable=False),
    Column("kind", String(32)),
    Column("value", Text),
    Column("message_id", Text),
    Column("by_whom", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("joined_at", Instant, nullable=False),
    Column("undone_at", Instant),
    Column("undone_by", Text),
    Column("undone_why", Text),
    Index("ix_identity_joins_profile", "profile"),
    Index("ix_identity_joins_into_profile", "into_profile"),
    Index("ix_identity_joins_kind_value", "kind", "value"),
)

# What the joins amount to: the canonical user id of every profile that was ever joined. `revision` is the
# number of the change that wrote the row, by which other processes find what is new.
joined_profiles = Table(
    "joined_profiles",
    metadata,
    Column("profile", Text, primary_key=True),
    Column("canonical", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("ix_joined_profiles_canonical", "canonical"),
    Index("ix_joined_profiles_revision", "revision"),
)
