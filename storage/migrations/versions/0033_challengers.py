"""Policies in charge, what others would have done, evidence, and claims."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy_charges",
        sa.Column("slot", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("former", sa.String(length=64), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("how", sa.String(length=16), nullable=False),
        sa.Column("change_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("slot", "number", name=op.f("pk_policy_charges")),
    )
    op.create_table(
        "shadow_rounds",
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.Column("drawer", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=96), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "decision_id", name=op.f("pk_shadow_rounds")),
    )
    op.create_index(
        "ix_shadow_rounds_policy_drawer_decided_at", "shadow_rounds", ["policy", "drawer", "decided_at"]
    )
    op.create_index("ix_shadow_rounds_user_id", "shadow_rounds", ["user_id"])
    op.create_table(
        "policy_evidence",
        sa.Column("slot", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("slot", "policy", name=op.f("pk_policy_evidence")),
    )
    op.create_table(
        "policy_claims",
        sa.Column("change_id", sa.String(length=36), nullable=False),
        sa.Column("slot", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("former", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("promised", sa.Text(), nullable=False),
        sa.Column("live", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_policy_claims")),
    )
    op.create_index("ix_policy_claims_slot_at", "policy_claims", ["slot", "at"])


def downgrade() -> None:
    for table in ("policy_claims", "policy_evidence", "shadow_rounds", "policy_charges"):
        op.drop_table(table)
