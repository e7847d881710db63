"""Identities of profiles, joins of profiles, and who goes by which id."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "anonymous_profiles",
        sa.Column("anonymous_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("chosen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("anonymous_id", "number", name=op.f("pk_anonymous_profiles")),
    )
    op.create_index("ix_anonymous_profiles_profile", "anonymous_profiles", ["profile"], unique=False)
    op.create_index("ix_anonymous_profiles_chosen", "anonymous_profiles", ["chosen"], unique=False)
    op.create_table(
        "identities",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", "profile", name=op.f("pk_identities")),
    )
    op.create_index("ix_identities_profile", "identities", ["profile"], unique=False)
    op.create_table(
        "identity_joins",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("into_profile", sa.Text(), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("by_whom", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("undone_at", sa.BigInteger(), nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.Column("undone_why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_joins")),
    )
    op.create_index("ix_identity_joins_profile", "identity_joins", ["profile"], unique=False)
    op.create_index("ix_identity_joins_into_profile", "identity_joins", ["into_profile"], unique=False)
    op.create_index("ix_identity_joins_kind_value", "identity_joins", ["kind", "value"], unique=False)
    op.create_table(
        "joined_profiles",
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("canonical", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("profile", name=op.f("pk_joined_profiles")),
    )
    op.create_index("ix_joined_profiles_canonical", "joined_profiles", ["canonical"], unique=False)
    op.create_index("ix_joined_profiles_revision", "joined_profiles", ["revision"], unique=False)
    op.create_table(
        "shared_identities",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_shared_identities")),
    )


def downgrade() -> None:
    op.drop_table("shared_identities")
    op.drop_index("ix_joined_profiles_revision", table_name="joined_profiles")
    op.drop_index("ix_joined_profiles_canonical", table_name="joined_profiles")
    op.drop_table("joined_profiles")
    op.drop_index("ix_identity_joins_kind_value", table_name="identity_joins")
    op.drop_index("ix_identity_joins_into_profile", table_name="identity_joins")
    op.drop_index("ix_identity_joins_profile", table_name="identity_joins")
    op.drop_table("identity_joins")
    op.drop_index("ix_identities_profile", table_name="identities")
    op.drop_table("identities")
    op.drop_index("ix_anonymous_profiles_chosen", table_name="anonymous_profiles")
    op.drop_index("ix_anonymous_profiles_profile", table_name="anonymous_profiles")
    op.drop_table("anonymous_profiles")
