"""Stocks of coupon codes that were made elsewhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "coupon_batches",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("offer", sa.String(length=64), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("whole_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon_batches")),
    )
    op.create_index("ix_coupon_batches_offer", "coupon_batches", ["offer"])
    op.create_table(
        "coupon_codes",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("coupon_id", sa.Text(), nullable=True),
        sa.Column("given_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_coupon_codes")),
    )
    op.create_index("ix_coupon_codes_batch", "coupon_codes", ["batch"])
    op.create_index(
        "ix_coupon_codes_batch_code",
        "coupon_codes",
        ["batch", "code"],
        sqlite_where=sa.text("coupon_id IS NULL"),
        postgresql_where=sa.text("coupon_id IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("coupon_codes")
    op.drop_table("coupon_batches")
