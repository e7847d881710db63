"""An index that gives readers of the ledger the next facts of their kinds."""

from __future__ import annotations

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_facts_kind_seq", "facts", ["kind", "seq"])


def downgrade() -> None:
    op.drop_index("ix_facts_kind_seq", "facts")
