"""Tables of the library and its counters."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from storage.schema import Sequence64, metadata
from storage.times import Instant

# Every version of every playbook that was ever published; rows are never changed.
playbook_versions = Table(
    "playbook_versions",
    metadata,
    Column("playbook", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("published_at", Instant, nullable=False),
    Column("body", Text, nullable=False),
)

# Where each version stands. `number` orders all moves: whoever serves looks whether there is a new one.
playbook_states = Table(
    "playbook_states",
    metadata,
    Column("playbook", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    # Where a paused one goes back to.
    Column("before", String(16)),
    Column("number", BigInteger, nullable=False),
    Column("moved_at", Instant, nullable=False),
    Column("moved_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("approved_by", Text),
    # Reasons why a second person has to approve it, one a line.
    Column("needs", Text, nullable=False),
    # `folder`: it came with the service's library folder, and goes with it.
    Column("source", String(16), nullable=False),
    # When it was first served; null: never.
    Column("served_from", Instant),
    # What its pilot came to, as JSON.
    Column("report", Text),
    Index("ix_playbook_states_number", "number"),
    Index("ix_playbook_states_state", "state"),
)

# What is being edited; a row is replaced by its next revision.
playbook_drafts = Table(
    "playbook_drafts",
    metadata,
    Column("playbook", String(64), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("body", Text, nullable=False),
    # The version it was made from.
    Column("based_on", Integer),
    Column("edited_at", Instant, nullable=False),
    Column("edited_by", Text, nullable=False),
)

# Documents that playbooks share, as last imported: offers, contents, and above what a second person approves.
library_documents = Table(
    "library_documents",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("body", Text, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", Text, nullable=False),
)

# Every version of every content that was ever imported; rows are never changed.
content_versions = Table(
    "content_versions",
    metadata,
    Column("content", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("made_at", Instant, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("body", Text, nullable=False),
)

# One row for each use that a cap counts; `reserved` ones stop counting when `expires_at` has passed.
uses = Table(
    "uses",
    metadata,
    Column("id", Sequence64, primary_key=True, autoincrement=True),
    Column("user_id", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("used_at", Instant, nullable=False),
    Column("expires_at", Instant),
    # Each decision reads a user's uses twice, on SQLite from the index alone. Postgres looks into the table
    # anyway, and would write each index anew when a use comes to count for good.
    Index("ix_uses_user_id_used_at_rule_expires_at", "user_id", "used_at", "rule", "expires_at").ddl_if(
        dialect="sqlite"
    ),
    Index("ix_uses_user_id_used_at", "user_id", "used_at").ddl_if(dialect="postgresql"),
    Index("ix_uses_decision_id", "decision_id"),
)

# One row for each amount taken from a budget; reserved ones stop counting when `expires_at` has passed.
grants = Table(
    "grants",
    metadata,
    Column("id", Sequence64, primary_key=True, autoincrement=True),
    Column("budget", Text, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("granted_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Index("ix_grants_budget_expires_at", "budget", "expires_at"),
    Index("ix_grants_decision_id", "decision_id"),
)

# The sum of a budget's grants, expired ones included until the room is needed.
budget_totals = Table(
    "budget_totals",
    metadata,
    Column("budget", Text, primary_key=True),
    Column("taken", BigInteger, nullable=False),
)

# The epoch of each shard of counters that are kept in Valkey (`playbooks.counters.epochs`).
counter_epochs = Table(
    "counter_epochs",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("token", String(32), nullable=False),
)

# What was answered to a request that carried an idempotency key.
answers = Table(
    "answers",
    metadata,
    Column("request_key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("answered_at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)
