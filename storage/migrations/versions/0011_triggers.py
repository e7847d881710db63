"""Triggers: when each fired for whom, what waits for silence, how far calendars were followed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trigger_firings",
        sa.Column("trigger", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("fired_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("used_seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("trigger", "user_id", name=op.f("pk_trigger_firings")),
    )
    op.create_index("ix_trigger_firings_user_id", "trigger_firings", ["user_id"], unique=False)
    op.create_table(
        "trigger_followed",
        sa.Column("trigger", sa.String(length=64), nullable=False),
        sa.Column("through", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("trigger", name=op.f("pk_trigger_followed")),
    )
    op.create_table(
        "trigger_waits",
        sa.Column("trigger", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("caused_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("trigger", "user_id", name=op.f("pk_trigger_waits")),
    )
    op.create_index("ix_trigger_waits_due_at", "trigger_waits", ["due_at"], unique=False)
    op.create_index("ix_trigger_waits_user_id", "trigger_waits", ["user_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_trigger_waits_user_id", table_name="trigger_waits")
    op.drop_index("ix_trigger_waits_due_at", table_name="trigger_waits")
    op.drop_table("trigger_waits")
    op.drop_table("trigger_followed")
    op.drop_index("ix_trigger_firings_user_id", table_name="trigger_firings")
    op.drop_table("trigger_firings")
