"""What operators stop, and what waits because of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "controls",
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "target", name=op.f("pk_controls")),
    )
    op.create_index("ix_controls_mode", "controls", ["mode"])
    op.create_table(
        "parked",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("control", sa.Text(), nullable=False),
        sa.Column("ready_at", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name=op.f("pk_parked")),
    )
    op.create_index("ix_parked_control_kind_ready_at_id", "parked", ["control", "kind", "ready_at", "id"])


def downgrade() -> None:
    # What waits goes on: older code knows no controls.
    for table, key, queue, kind in (
        ("outbox", "key", "available_at", "message"),
        ("enrolments", "id", "due_at", "run"),
    ):
        mine = f"FROM parked WHERE kind = '{kind}'"
        op.execute(
            f"UPDATE {table} SET {queue} = (SELECT ready_at {mine} AND parked.id = {table}.{key}) "  # noqa: S608
            f"WHERE {key} IN (SELECT id {mine})"
        )
    op.drop_table("parked")
    op.drop_table("controls")
