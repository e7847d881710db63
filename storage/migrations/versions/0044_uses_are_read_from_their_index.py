"""On SQLite an index has all that a decision reads of a user's uses: each use was a look into the table."""

from __future__ import annotations

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

_BEFORE = ("ix_uses_user_id_used_at", ["user_id", "used_at"])
_NOW = ("ix_uses_user_id_used_at_rule_expires_at", ["user_id", "used_at", "rule", "expires_at"])


def upgrade() -> None:
    _replace(_BEFORE, _NOW)


def downgrade() -> None:
    _replace(_NOW, _BEFORE)


def _replace(old: tuple[str, list[str]], new: tuple[str, list[str]]) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.create_index(new[0], "uses", new[1])
        op.drop_index(old[0], table_name="uses")
