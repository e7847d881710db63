"""What orders do with coupons: reservations, redemptions, and calls that are remembered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, default in (("uses", "1"), ("reopened", "0")):
        op.add_column(
            "coupons", sa.Column(name, sa.Integer(), server_default=sa.text(default), nullable=False)
        )
    op.create_table(
        "coupon_uses",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("coupon_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("standing", sa.String(length=12), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("basket", sa.String(length=32), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("discount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon_uses")),
    )
    op.create_index(
        "uq_coupon_uses_coupon_id_order_id", "coupon_uses", ["coupon_id", "order_id"], unique=True
    )
    op.create_index("ix_coupon_uses_order_id", "coupon_uses", ["order_id"])
    op.create_index("ix_coupon_uses_user_id", "coupon_uses", ["user_id"])
    op.create_index(
        "ix_coupon_uses_until_id",
        "coupon_uses",
        ["until", "id"],
        sqlite_where=sa.text("until IS NOT NULL"),
        postgresql_where=sa.text("until IS NOT NULL"),
    )
    op.create_table(
        "coupon_calls",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("called_at", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_coupon_calls")),
    )
    op.create_index("ix_coupon_calls_user_id", "coupon_calls", ["user_id"])
    op.create_index("ix_coupon_calls_called_at", "coupon_calls", ["called_at"])


def downgrade() -> None:
    op.drop_table("coupon_calls")
    op.drop_table("coupon_uses")
    op.drop_column("coupons", "reopened")
    op.drop_column("coupons", "uses")
