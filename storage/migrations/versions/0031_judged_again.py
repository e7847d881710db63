"""Rewards that are judged again: how many versions there are of each, and by which goal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("reward_windows", sa.Column("rewarded", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("reward_windows", sa.Column("goal_version", sa.Integer()))
    op.execute(sa.text("UPDATE reward_windows SET rewarded = 1 WHERE matured"))


def downgrade() -> None:
    op.drop_column("reward_windows", "goal_version")
    op.drop_column("reward_windows", "rewarded")
