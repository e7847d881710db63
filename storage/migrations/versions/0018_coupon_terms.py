"""Coupons keep the terms they were issued under, and what they may cost at worst."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("coupons", sa.Column("terms", sa.Text(), nullable=True))
    op.add_column(
        "coupons", sa.Column("liability", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    )


def downgrade() -> None:
    op.drop_column("coupons", "liability")
    op.drop_column("coupons", "terms")
