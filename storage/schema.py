"""The tables' shared registry, and the tables of this room.

Each room declares its own tables in its `tables.py` on this `metadata`; the migrations in
`storage/migrations` create them, and a test proves the two equal.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

# SQLite gives row ids only to a column of exactly this type.
Sequence64 = BigInteger().with_variant(Integer(), "sqlite")

facts = Table(
    "facts",
    metadata,
    Column("seq", Sequence64, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("id", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("user_id", Text),
    Column("occurred_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("uq_facts_kind_id", "kind", "id", unique=True),
    # For readers, who take the next facts of their kinds: SQLite would sort all there are for each page.
    Index("ix_facts_kind_seq", "kind", "seq"),
    Index("ix_facts_kind_label_occurred_at", "kind", "label", "occurred_at"),
    Index("ix_facts_user_id_occurred_at", "user_id", "occurred_at"),
    sqlite_autoincrement=True,
)

# `kinds` are those its reader takes, with commas between them; null: all. Others it does not keep from going.
cursors = Table(
    "cursors",
    metadata,
    Column("reader", String(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("kinds", Text),
)

# What Postgres adds to transaction ids when it numbers facts (`storage.order`): one row.
ledger_base = Table(
    "ledger_base",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("base", BigInteger, nullable=False),
)

# `number` facts were recorded of a kind, label and UTC day (days since 1970), `purged` of them are gone.
fact_counts = Table(
    "fact_counts",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("label", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("purged", BigInteger, nullable=False),
)

# Erasures under way, so that one that was interrupted goes on under the same pseudonym; `places` is JSON:
# how much was taken away so far, by place.
erasures = Table(
    "erasures",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("pseudonym", Text, nullable=False),
    Column("places", Text, nullable=False),
)
