"""Data quality, held clicks, alerts of liveness."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_WAITING = sa.text("state = 'waiting'")
_FIGURES = (
    "accepted",
    "duplicate",
    "conflict",
    "quarantined",
    "machine",
    "refused",
    "late",
    "released",
    "imported",
)


def upgrade() -> None:
    op.create_table(
        "arrivals",
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _FIGURES),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("hour", "source", "name", "part", name=op.f("pk_arrivals")),
    )
    op.create_table(
        "event_properties",
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("property", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event", "property", name=op.f("pk_event_properties")),
    )
    op.create_table(
        "held_clicks",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("links", sa.Integer(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_held_clicks")),
    )
    op.create_index(
        "ix_held_clicks_due_at",
        "held_clicks",
        ["due_at"],
        unique=False,
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
    op.create_index("ix_held_clicks_message_id", "held_clicks", ["message_id"], unique=False)
    op.create_index("ix_held_clicks_user_id", "held_clicks", ["user_id"], unique=False)
    op.create_table(
        "open_alerts",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("what", sa.String(length=8), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.Float(53), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("resumed_at", sa.BigInteger(), nullable=True),
        sa.Column("names", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "name", "what", name=op.f("pk_open_alerts")),
    )


def downgrade() -> None:
    op.drop_table("open_alerts")
    op.drop_index("ix_held_clicks_user_id", table_name="held_clicks")
    op.drop_index("ix_held_clicks_message_id", table_name="held_clicks")
    op.drop_index("ix_held_clicks_due_at", table_name="held_clicks")
    op.drop_table("held_clicks")
    op.drop_table("event_properties")
    op.drop_table("arrivals")
