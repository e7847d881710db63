"""What CRMs told: the latest version of each object, and webhooks by their ids."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crm_objects",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=16), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "type", "object_id", name=op.f("pk_crm_objects")),
    )
    op.create_index("ix_crm_objects_user_id", "crm_objects", ["user_id"], unique=False)
    op.create_table(
        "crm_inbox",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("source", "webhook_id", name=op.f("pk_crm_inbox")),
    )
    op.create_index("ix_crm_inbox_state_received_at", "crm_inbox", ["state", "received_at"], unique=False)


def downgrade() -> None:
    op.drop_table("crm_inbox")
    op.drop_table("crm_objects")
