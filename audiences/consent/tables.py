"""Tables of consent and of addresses that may not be written to."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

# The word that counts now, one for each purpose and channel; all there ever were are in the ledger.
consents = Table(
    "consents",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("purpose", String(64), primary_key=True),
    Column("channel", String(16), primary_key=True),
    Column("state", String(8), nullable=False),
    Column("at", Instant, nullable=False),
    Column("source", Text, nullable=False),
    Column("wording_id", String(64)),
    Column("wording_version", String(64)),
    Column("wording_hash", String(64)),
)

# `address` is a keyed hash (`audiences.consent.address_hash`). A lifted one stays, so that an older word
# that comes late does not bring it back.
suppressions = Table(
    "suppressions",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("address", String(64), primary_key=True),
    Column("reason", String(16), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("at", Instant, nullable=False),
    Column("source", Text, nullable=False),
)

# Tells whether a process hashes addresses under the same key as those before it: one row.
address_key = Table(
    "address_key",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("fingerprint", String(32), nullable=False),
)
