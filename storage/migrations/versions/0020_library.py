"""States of playbook versions, drafts, and the documents that playbooks share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# What was served until now is the latest version of each playbook.
_STATES = """
INSERT INTO playbook_states (playbook, version, state, number, moved_at, moved_by, why, made_by, needs,
                             source, served_from)
SELECT v.playbook, v.version,
       CASE WHEN v.version = (SELECT MAX(n.version) FROM playbook_versions n WHERE n.playbook = v.playbook)
            THEN 'live' ELSE 'retired' END,
       0, v.published_at, 'folder', '', 'folder', '', 'folder', v.published_at
FROM playbook_versions v
"""


def upgrade() -> None:
    op.create_table(
        "playbook_states",
        sa.Column("playbook", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("moved_at", sa.BigInteger(), nullable=False),
        sa.Column("moved_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("needs", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("served_from", sa.BigInteger(), nullable=True),
        sa.Column("report", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("playbook", "version", name=op.f("pk_playbook_states")),
    )
    op.create_index("ix_playbook_states_number", "playbook_states", ["number"], unique=False)
    op.create_index("ix_playbook_states_state", "playbook_states", ["state"], unique=False)
    op.create_table(
        "playbook_drafts",
        sa.Column("playbook", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("based_on", sa.Integer(), nullable=True),
        sa.Column("edited_at", sa.BigInteger(), nullable=False),
        sa.Column("edited_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("playbook", name=op.f("pk_playbook_drafts")),
    )
    op.create_table(
        "library_documents",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name=op.f("pk_library_documents")),
    )
    op.execute(_STATES)


def downgrade() -> None:
    op.drop_table("library_documents")
    op.drop_table("playbook_drafts")
    op.drop_index("ix_playbook_states_state", table_name="playbook_states")
    op.drop_index("ix_playbook_states_number", table_name="playbook_states")
    op.drop_table("playbook_states")
