"""Tasks of people: who has them, until when, what became of them; turns of teams, leavers, exports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_NEW = (
    "decision_id",
    "person",
    "team",
    "closes_at",
    "claimed_at",
    "snoozed_until",
    "level",
    "escalate_at",
    "note",
    "answer_id",
    "left_at",
    "version",
)
_INDEXES = {
    "ix_tasks_person_due_at": ["person", "due_at"],
    "ix_tasks_answer_id": ["answer_id"],
}


def upgrade() -> None:
    for column in (
        sa.Column("decision_id", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("person", sa.String(length=64)),
        sa.Column("team", sa.String(length=64)),
        sa.Column("closes_at", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("claimed_at", sa.BigInteger()),
        sa.Column("snoozed_until", sa.BigInteger()),
        sa.Column("level", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("escalate_at", sa.BigInteger()),
        sa.Column("note", sa.Text()),
        sa.Column("answer_id", sa.Text()),
        sa.Column("left_at", sa.BigInteger()),
        sa.Column("version", sa.Integer(), nullable=False, server_default=sa.text("1")),
    ):
        op.add_column("tasks", column)
    # A task was open while its run was active at the revision that had opened it.
    op.execute("UPDATE tasks SET closes_at = due_at")
    op.execute(
        "UPDATE tasks SET decision_id = coalesce((SELECT decision_id FROM enrolments "
        "WHERE enrolments.id = tasks.enrolment_id), '')"
    )
    op.execute(
        "UPDATE tasks SET left_at = due_at WHERE done_at IS NULL AND NOT EXISTS (SELECT 1 FROM enrolments "
        "WHERE enrolments.id = tasks.enrolment_id AND enrolments.revision = tasks.revision "
        "AND enrolments.status = 'active')"
    )
    for name, columns in _INDEXES.items():
        op.create_index(name, "tasks", columns)
    op.create_index(
        "ix_tasks_escalate_at",
        "tasks",
        ["escalate_at"],
        sqlite_where=sa.text("escalate_at IS NOT NULL"),
        postgresql_where=sa.text("escalate_at IS NOT NULL"),
    )
    op.create_table(
        "team_turns",
        sa.Column("team", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("team", name=op.f("pk_team_turns")),
    )
    op.create_table(
        "leavers",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("successor", sa.String(length=64), nullable=False),
        sa.Column("left_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person", name=op.f("pk_leavers")),
    )
    op.create_table(
        "exported_rows",
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("by", "day", name=op.f("pk_exported_rows")),
    )
    op.add_column("api_keys", sa.Column("person", sa.String(length=64)))


def downgrade() -> None:
    op.drop_column("api_keys", "person")
    op.drop_table("exported_rows")
    op.drop_table("leavers")
    op.drop_table("team_turns")
    op.drop_index("ix_tasks_escalate_at", "tasks")
    for name in _INDEXES:
        op.drop_index(name, "tasks")
    for name in reversed(_NEW):
        op.drop_column("tasks", name)
