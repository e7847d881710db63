"""What providers call a message, and receipts that could not be used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_GIVEN = sa.text("reference IS NOT NULL")


def upgrade() -> None:
    op.add_column("outbox", sa.Column("reference", sa.Text()))
    op.create_index(
        "ix_outbox_reference", "outbox", ["reference"], sqlite_where=_GIVEN, postgresql_where=_GIVEN
    )
    op.create_table(
        "stray_receipts",
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "event_id", name=op.f("pk_stray_receipts")),
    )
    op.create_index("ix_stray_receipts_received_at", "stray_receipts", ["received_at"])


def downgrade() -> None:
    op.drop_table("stray_receipts")
    op.drop_index("ix_outbox_reference", table_name="outbox")
    op.drop_column("outbox", "reference")
