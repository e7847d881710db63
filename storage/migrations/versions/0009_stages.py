"""Stages: where each user stands in each lifecycle."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stage_standings",
        sa.Column("lifecycle", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.String(length=64), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lifecycle", "user_id", name=op.f("pk_stage_standings")),
    )
    op.create_index("ix_stage_standings_user_id", "stage_standings", ["user_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_stage_standings_user_id", table_name="stage_standings")
    op.drop_table("stage_standings")
