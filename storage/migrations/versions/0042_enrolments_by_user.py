"""One index finds the runs of a user, those under way and all: each advance on Postgres wrote two."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_ACTIVE = sa.text("status = 'active'")


def upgrade() -> None:
    op.create_index("ix_enrolments_user_id_status_playbook", "enrolments", ["user_id", "status", "playbook"])
    op.drop_index("ix_enrolments_active_user_id", table_name="enrolments")
    op.drop_index("ix_enrolments_user_id_playbook", table_name="enrolments")


def downgrade() -> None:
    op.create_index("ix_enrolments_user_id_playbook", "enrolments", ["user_id", "playbook"])
    op.create_index(
        "ix_enrolments_active_user_id",
        "enrolments",
        ["user_id"],
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    )
    op.drop_index("ix_enrolments_user_id_status_playbook", table_name="enrolments")
