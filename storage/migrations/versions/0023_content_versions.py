"""Versions of contents; those that are there become their first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_FIRST = """
INSERT INTO content_versions (content, version, made_at, made_by, body)
SELECT id, 1, changed_at, changed_by, body FROM library_documents WHERE kind = 'content'
"""


def upgrade() -> None:
    op.create_table(
        "content_versions",
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("content", "version", name=op.f("pk_content_versions")),
    )
    op.execute(_FIRST)


def downgrade() -> None:
    op.drop_table("content_versions")
