"""On Postgres each advance of a run wrote the index by playbook, which only a person's question reads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

_NAME = "ix_enrolments_active_playbook_playbook_version_id"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index(_NAME, table_name="enrolments")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            _NAME,
            "enrolments",
            ["playbook", "playbook_version", "id"],
            postgresql_where=sa.text("status = 'active'"),
        )
