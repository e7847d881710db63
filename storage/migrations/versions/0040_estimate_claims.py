"""What evaluations said, and what came of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "estimate_claims",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_estimate_claims")),
        sa.UniqueConstraint("digest", name="uq_estimate_claims_digest"),
    )
    op.create_index("ix_estimate_claims_policy_at", "estimate_claims", ["policy", "at"])


def downgrade() -> None:
    op.drop_table("estimate_claims")
