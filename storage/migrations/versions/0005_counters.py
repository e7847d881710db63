"""Counters of amounts, and epochs of counters that are kept outside the database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "budget_totals",
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("budget", name=op.f("pk_budget_totals")),
    )
    op.create_table(
        "counter_epochs",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_counter_epochs")),
    )
    op.create_table(
        "grants",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("granted_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_budget_expires_at", "grants", ["budget", "expires_at"], unique=False)
    op.create_index("ix_grants_decision_id", "grants", ["decision_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_grants_decision_id", table_name="grants")
    op.drop_index("ix_grants_budget_expires_at", table_name="grants")
    op.drop_table("grants")
    op.drop_table("counter_epochs")
    op.drop_table("budget_totals")
