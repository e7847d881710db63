"""When scores began: what is older is counted quietly."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "score_beginnings",
        sa.Column("score", sa.String(length=64), nullable=False),
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("quiet_through", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("score", "line", name=op.f("pk_score_beginnings")),
    )
    # Scores and lines that somebody stands in have begun.
    op.execute("INSERT INTO score_beginnings SELECT DISTINCT score, '', 0, 0, 0 FROM score_standings")
    op.execute("INSERT INTO score_beginnings SELECT DISTINCT score, line, 0, 0, 0 FROM score_holding")


def downgrade() -> None:
    op.drop_table("score_beginnings")
