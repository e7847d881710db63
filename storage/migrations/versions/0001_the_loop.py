"""The tables of the whole loop."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    sequence64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "facts",
        sa.Column("seq", sequence64, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text()),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_facts"),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_facts_kind_id", "facts", ["kind", "id"], unique=True)
    op.create_index("ix_facts_kind_label_occurred_at", "facts", ["kind", "label", "occurred_at"])
    op.create_index("ix_facts_user_id_occurred_at", "facts", ["user_id", "occurred_at"])
    op.create_table(
        "cursors",
        sa.Column("reader", sa.String(64), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reader", name="pk_cursors"),
    )


def downgrade() -> None:
    for table in ("cursors", "facts"):
        op.drop_table(table)
