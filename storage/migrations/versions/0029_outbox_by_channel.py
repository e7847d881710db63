"""Messages are claimed channel by channel."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_WAITING = "available_at IS NOT NULL"
_BEFORE = ("lane", "available_at", "key")


def upgrade() -> None:
    op.drop_index("ix_outbox_lane_available_at_key", table_name="outbox")
    _index("channel", *_BEFORE)


def downgrade() -> None:
    op.drop_index("ix_outbox_channel_lane_available_at_key", table_name="outbox")
    _index(*_BEFORE)


def _index(*columns: str) -> None:
    op.create_index(
        f"ix_outbox_{'_'.join(columns)}",
        "outbox",
        list(columns),
        sqlite_where=sa.text(_WAITING),
        postgresql_where=sa.text(_WAITING),
    )
