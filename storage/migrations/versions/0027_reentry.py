"""Runs of a user through a playbook, whatever became of them, are found at once."""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_enrolments_user_id_playbook", "enrolments", ["user_id", "playbook"])


def downgrade() -> None:
    op.drop_index("ix_enrolments_user_id_playbook", table_name="enrolments")
