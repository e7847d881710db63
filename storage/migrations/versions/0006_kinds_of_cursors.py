"""Which kinds of facts a cursor's reader takes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# The readers there were when the column came; others take all kinds until they say which.
_KNOWN = {
    "feature_history": "event",
    "feature_push": "event",
    "delivery.events": "event",
    "learning.windows": "decision",
}


def upgrade() -> None:
    op.add_column("cursors", sa.Column("kinds", sa.Text(), nullable=True))
    cursors = sa.table("cursors", sa.column("reader", sa.Text), sa.column("kinds", sa.Text))
    for reader, kind in _KNOWN.items():
        op.execute(sa.update(cursors).where(cursors.c.reader == reader).values(kinds=kind))


def downgrade() -> None:
    with op.batch_alter_table("cursors") as batch:
        batch.drop_column("kinds")
