"""Scores: what gave points, which rules hold, where each user stands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "score_grants",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("score", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "score", "event_id", "line", name=op.f("pk_score_grants")),
    )
    op.create_table(
        "score_holding",
        sa.Column("score", sa.String(length=64), nullable=False),
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("score", "line", "user_id", name=op.f("pk_score_holding")),
    )
    op.create_index("ix_score_holding_user_id", "score_holding", ["user_id"], unique=False)
    op.create_table(
        "score_standings",
        sa.Column("score", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("held_rank", sa.Integer(), nullable=False),
        sa.Column("held_until", sa.BigInteger(), nullable=True),
        sa.Column("counted_from", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("score", "user_id", name=op.f("pk_score_standings")),
    )
    op.create_index(
        "ix_score_standings_due_at",
        "score_standings",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_score_standings_user_id", "score_standings", ["user_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_score_standings_user_id", table_name="score_standings")
    op.drop_index("ix_score_standings_due_at", table_name="score_standings")
    op.drop_table("score_standings")
    op.drop_index("ix_score_holding_user_id", table_name="score_holding")
    op.drop_table("score_holding")
    op.drop_table("score_grants")
