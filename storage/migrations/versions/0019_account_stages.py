"""Where accounts stand in lifecycles of accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account_stage_standings",
        sa.Column("lifecycle", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.String(length=64), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lifecycle", "account_id", name=op.f("pk_account_stage_standings")),
    )
    op.create_index(
        "ix_account_stage_standings_account_id", "account_stage_standings", ["account_id"], unique=False
    )


def downgrade() -> None:
    op.drop_index("ix_account_stage_standings_account_id", table_name="account_stage_standings")
    op.drop_table("account_stage_standings")
