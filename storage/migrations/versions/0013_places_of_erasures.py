"""What an erasure under way has taken away, by place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("erasures", sa.Column("places", sa.Text(), nullable=False, server_default="{}"))
    op.execute("""UPDATE erasures SET places = '{"facts":' || facts || '}'""")
    with op.batch_alter_table("erasures") as batch:
        batch.drop_column("facts")
        batch.alter_column("places", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("erasures") as batch:
        batch.add_column(sa.Column("facts", sa.BigInteger(), nullable=False, server_default="0"))
        batch.drop_column("places")
    with op.batch_alter_table("erasures") as batch:
        batch.alter_column("facts", server_default=None)
