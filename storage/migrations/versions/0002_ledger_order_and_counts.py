"""Numbers of facts follow transactions on Postgres; counters kept by day; erasures under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Whole days since 1970, rounded down also before it. (A migration keeps its own copy: it must not change
# when the code does.)
_COUNT = """
    INSERT INTO fact_counts (kind, label, day, number, purged)
    SELECT kind, label, day, count(*), 0
    FROM (
        SELECT kind, label,
            (occurred_at - (occurred_at % 86400000000 + 86400000000) % 86400000000) / 86400000000 AS day
        FROM facts
    ) AS days
    GROUP BY kind, label, day
"""
_COUNTED = """
    INSERT INTO cursors (reader, position)
    SELECT 'ledger.counts', newest FROM (SELECT max(seq) AS newest FROM facts) AS recorded
    WHERE newest IS NOT NULL
"""
# What is there keeps its numbers and thus its order; new facts must come above.
_BASE = """
    INSERT INTO ledger_base (id, base)
    SELECT 1, greatest(0, coalesce(max(seq), 0) / 1048576 + 1
        - pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
    FROM facts
"""


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("pseudonym", sa.Text(), nullable=False),
        sa.Column("facts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_erasures")),
    )
    op.create_table(
        "fact_counts",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("purged", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "label", "day", name=op.f("pk_fact_counts")),
    )
    op.create_table(
        "ledger_base",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_base")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Takes the table's exclusive lock: nobody is writing facts while they are counted below.
        op.execute("ALTER TABLE facts ALTER COLUMN seq DROP DEFAULT")
        op.execute("DROP SEQUENCE facts_seq_seq")
        op.execute(_BASE)
    else:
        op.execute("INSERT INTO ledger_base (id, base) VALUES (1, 0)")
    op.execute(_COUNT)
    op.execute(_COUNTED)


def downgrade() -> None:
    op.execute("DELETE FROM cursors WHERE reader = 'ledger.counts'")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE facts_seq_seq AS bigint OWNED BY facts.seq")
        op.execute("ALTER TABLE facts ALTER COLUMN seq SET DEFAULT nextval('facts_seq_seq')")
        op.execute("SELECT setval('facts_seq_seq', coalesce(max(seq), 0) + 1, false) FROM facts")
    op.drop_table("ledger_base")
    op.drop_table("fact_counts")
    op.drop_table("erasures")
