"""Whether the changes of an audience are of its beginning, and start nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Those that are there were found by the definition that was live before.
    op.add_column(
        "audience_bitmaps", sa.Column("quiet", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    with op.batch_alter_table("audience_bitmaps") as table:
        table.drop_column("quiet")
