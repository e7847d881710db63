"""Active enrolments are found by playbook; what marks them as active is not written at each advance."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_enrolments_active_user_id", table_name="enrolments")
    _index("ix_enrolments_active_user_id", ["user_id"], "status = 'active'")
    columns = ["playbook", "playbook_version", "id"]
    _index("ix_enrolments_active_playbook_playbook_version_id", columns, "status = 'active'")


def downgrade() -> None:
    op.drop_index("ix_enrolments_active_playbook_playbook_version_id", table_name="enrolments")
    op.drop_index("ix_enrolments_active_user_id", table_name="enrolments")
    _index("ix_enrolments_active_user_id", ["user_id"], "due_at IS NOT NULL")


def _index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "enrolments", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
