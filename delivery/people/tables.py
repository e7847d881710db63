"""Tables of tasks and of those who do them."""

from __future__ import annotations

from sqlalchemy import Column, Date, Index, Integer, String, Table, Text, text

from storage.schema import metadata
from storage.times import Instant

# A task is open until it is done or left. `assignee` is whom the flow named, `person` who has it, `team` in
# whose queue it lies. `level` counts escalations, `escalate_at` is when the next one is due; `version` counts
# changes; `answer_id` is the callback that brought the result.
tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("enrolment_id", Text, nullable=False),
    Column("decision_id", Text, nullable=False, server_default=text("''")),
    Column("revision", Integer, nullable=False),
    Column("playbook", String(64), nullable=False),
    Column("state", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("assignee", Text, nullable=False),
    Column("person", String(64)),
    Column("team", String(64)),
    Column("results", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("closes_at", Instant, nullable=False, server_default=text("0")),
    Column("claimed_at", Instant),
    Column("snoozed_until", Instant),
    Column("level", Integer, nullable=False, server_default=text("0")),
    Column("escalate_at", Instant),
    Column("done_at", Instant),
    Column("done_by", Text),
    Column("result", Text),
    Column("note", Text),
    Column("answer_id", Text),
    Column("left_at", Instant),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Index("ix_tasks_user_id", "user_id"),
    Index("ix_tasks_due_at_id", "due_at", "id"),
    Index("ix_tasks_enrolment_id", "enrolment_id"),
    Index("ix_tasks_person_due_at", "person", "due_at"),
    Index("ix_tasks_answer_id", "answer_id"),
    Index(
        "ix_tasks_escalate_at",
        "escalate_at",
        sqlite_where=text("escalate_at IS NOT NULL"),
        postgresql_where=text("escalate_at IS NOT NULL"),
    ),
)

# Who of a team got the last task that was dealt in turn.
team_turns = Table(
    "team_turns",
    metadata,
    Column("team", String(64), primary_key=True),
    Column("person", String(64), nullable=False),
)

# Who left, and to which person or team everything went that was theirs.
leavers = Table(
    "leavers",
    metadata,
    Column("person", String(64), primary_key=True),
    Column("successor", String(64), nullable=False),
    Column("left_at", Instant, nullable=False),
)

# How many rows each key took away on a day (UTC).
exported_rows = Table(
    "exported_rows",
    metadata,
    Column("by", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("number", Integer, nullable=False),
)
