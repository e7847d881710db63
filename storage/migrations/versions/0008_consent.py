"""Consent by purpose and channel, and addresses that may not be written to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("wording_id", sa.String(length=64), nullable=True),
        sa.Column("wording_version", sa.String(length=64), nullable=True),
        sa.Column("wording_hash", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "purpose", "channel", name=op.f("pk_consents")),
    )
    op.create_table(
        "suppressions",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "address", "reason", name=op.f("pk_suppressions")),
    )
    op.create_table(
        "address_key",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fingerprint", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address_key")),
    )


def downgrade() -> None:
    op.drop_table("address_key")
    op.drop_table("suppressions")
    op.drop_table("consents")
