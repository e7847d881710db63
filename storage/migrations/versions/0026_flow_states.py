"""Flows of more kinds: channel, content and lane of a message, tasks for people, when a run began."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_NEW = ("channel", "content", "step")
_WAITING = "available_at IS NOT NULL"


def upgrade() -> None:
    op.add_column("enrolments", sa.Column("started_at", sa.BigInteger()))
    op.execute("UPDATE enrolments SET started_at = entered_at WHERE revision = 0")
    for name in _NEW:
        op.add_column(
            "outbox", sa.Column(name, sa.String(length=64), nullable=False, server_default=sa.text("''"))
        )
    op.add_column("outbox", sa.Column("lane", sa.Integer(), nullable=False, server_default=sa.text("1")))
    member = "json_extract(arm, '$.{}')" if op.get_bind().dialect.name == "sqlite" else "(arm::json)->>'{}'"
    for name in ("channel", "content"):
        # What was said of a message so far is what its enrolment's arm says.
        op.execute(
            f"UPDATE outbox SET {name} = COALESCE((SELECT {member.format(name)} FROM enrolments "  # noqa: S608
            "WHERE enrolments.id = outbox.enrolment_id), '')"
        )
    op.drop_index("ix_outbox_available_at_key", table_name="outbox")
    op.create_index(
        "ix_outbox_lane_available_at_key",
        "outbox",
        ["lane", "available_at", "key"],
        sqlite_where=sa.text(_WAITING),
        postgresql_where=sa.text(_WAITING),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("enrolment_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("playbook", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("assignee", sa.Text(), nullable=False),
        sa.Column("results", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger()),
        sa.Column("done_by", sa.Text()),
        sa.Column("result", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    op.create_index("ix_tasks_user_id", "tasks", ["user_id"])
    op.create_index("ix_tasks_due_at_id", "tasks", ["due_at", "id"])
    op.create_index("ix_tasks_enrolment_id", "tasks", ["enrolment_id"])


def downgrade() -> None:
    op.drop_table("tasks")
    op.drop_index("ix_outbox_lane_available_at_key", table_name="outbox")
    for name in (*_NEW, "lane"):
        op.drop_column("outbox", name)
    op.create_index(
        "ix_outbox_available_at_key",
        "outbox",
        ["available_at", "key"],
        sqlite_where=sa.text(_WAITING),
        postgresql_where=sa.text(_WAITING),
    )
    op.drop_column("enrolments", "started_at")
