"""The table of leases."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, Text

from storage.schema import metadata

# One row for every name that was ever leased; `holder` is null once it was given back.
leases = Table(
    "leases",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("holder", Text),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
