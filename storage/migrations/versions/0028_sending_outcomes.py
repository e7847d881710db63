"""What became of messages by playbook, channel and minute."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sending_outcomes",
        sa.Column("playbook", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("playbook", "channel", "minute", "outcome", name=op.f("pk_sending_outcomes")),
    )
    op.create_index("ix_sending_outcomes_minute", "sending_outcomes", ["minute"])


def downgrade() -> None:
    op.drop_table("sending_outcomes")
