"""Tables of enrolments and the outbox.

Each queue has a partial index that equals the ORDER BY of its claim: a claim reads only what it takes.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, Text, text

from storage.schema import metadata
from storage.times import Instant

# Written out, for a partial index serves no query that compares with a parameter.
IS_ACTIVE = text("status = 'active'")

# `due_at` is set exactly while an enrolment is active and not put aside (`parked`); `arm` is JSON.
enrolments = Table(
    "enrolments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("playbook", String(64), nullable=False),
    Column("playbook_version", Integer, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("entered_at", Instant, nullable=False),
    Column("due_at", Instant),
    Column("waiting_for", Text),
    Column("revision", Integer, nullable=False),
    Column("status", String(8), nullable=False),
    Column("result", Text),
    Column("started_at", Instant),
    # Serves who is under way and who ever was. By status, which the advance of a run that stays active leaves
    # alone: SQLite then need not write it.
    Index("ix_enrolments_user_id_status_playbook", "user_id", "status", "playbook"),
    Index(
        "ix_enrolments_due_at_id",
        "due_at",
        "id",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
    # Serves who moves the runs of a version, in the one writer's turns. Postgres would write it at each
    # advance, as it does for all indexes once the due time changes; there who moves them reads all runs,
    # and who counts them those that are due or put aside (`under_way`).
    Index(
        "ix_enrolments_active_playbook_playbook_version_id",
        "playbook",
        "playbook_version",
        "id",
        sqlite_where=IS_ACTIVE,
    ).ddl_if(dialect="sqlite"),
)

# Messages on their way out. `available_at` is when the next attempt may begin, or when the lease of the
# present one ends (then `holder` says whose it is); it is null once the message is settled. With an empty
# `holder` nobody has it, but what came of an earlier attempt is not known. Those of lane 0, transactional
# ones, go before the others. `step` is the flow's state that wished for it, `reference` what its provider
# calls it.
outbox = Table(
    "outbox",
    metadata,
    Column("key", Text, primary_key=True),
    Column("enrolment_id", Text, nullable=False),
    Column("queued_at", Instant, nullable=False),
    Column("available_at", Instant),
    Column("holder", Text),
    Column("attempts", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", Text),
    Column("channel", String(64), nullable=False, server_default=text("''")),
    Column("content", String(64), nullable=False, server_default=text("''")),
    Column("step", String(64), nullable=False, server_default=text("''")),
    Column("lane", Integer, nullable=False, server_default=text("1")),
    Column("reference", Text),
    Index(
        "ix_outbox_reference",
        "reference",
        sqlite_where=text("reference IS NOT NULL"),
        postgresql_where=text("reference IS NOT NULL"),
    ),
    Index(
        "ix_outbox_channel_lane_available_at_key",
        "channel",
        "lane",
        "available_at",
        "key",
        sqlite_where=text("available_at IS NOT NULL"),
        postgresql_where=text("available_at IS NOT NULL"),
    ),
)

# What became of messages, counted; complaints and opt-outs are of the last message their user was sent.
sending_outcomes = Table(
    "sending_outcomes",
    metadata,
    Column("playbook", String(64), primary_key=True),
    Column("channel", String(64), primary_key=True),
    Column("minute", Instant, primary_key=True),
    Column("outcome", String(16), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Index("ix_sending_outcomes_minute", "minute"),
)

# What is remembered of a channel, over all processes (`delivery.channels.management.standing`).
channel_states = Table(
    "channel_states",
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("tokens", Float, nullable=False),
    Column("refilled_at", Instant),
    Column("window_from", Instant),
    Column("tried", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("opened_at", Instant),
    Column("probe_at", Instant),
    Column("held_until", Instant),
    Column("why", Text),
)

# What came of attempts, counted: taken, refused, failed, busy.
channel_minutes = Table(
    "channel_minutes",
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("minute", Instant, primary_key=True),
    Column("outcome", String(8), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

# Messages counted against a channel's quota, by day (2026-03-02) and month (2026-03) of the quota's zone.
channel_quotas = Table(
    "channel_quotas",
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("period", String(10), primary_key=True),
    Column("used", BigInteger, nullable=False),
)

# What a control keeps out of its queue: messages by key, runs by enrolment, with the time it had there. Of
# runs, `position` is how far the ledger was routed by then.
parked = Table(
    "parked",
    metadata,
    Column("kind", String(8), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("control", Text, nullable=False),
    Column("ready_at", Instant, nullable=False),
    Column("position", BigInteger, nullable=False),
    Index("ix_parked_control_kind_ready_at_id", "control", "kind", "ready_at", "id"),
)
