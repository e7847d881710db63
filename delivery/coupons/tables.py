"""Tables of the wallet: coupons, what orders do with them, and calls that are remembered by their key."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, text

from storage.schema import metadata
from storage.times import Instant

# `closes_at` is when an unused coupon expires, later where a reservation outlasts it; it is null once the
# coupon is used or over. `terms` is JSON, null where it came from elsewhere without any; `liability` minor
# units of their currency. A shared coupon has the user ''.
coupons = Table(
    "coupons",
    metadata,
    Column("id", Text, primary_key=True),
    Column("code", String(32), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("enrolment_id", Text, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("offer", String(64), nullable=False),
    Column("state", String(8), nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("closes_at", Instant),
    Column("terms", Text),
    Column("liability", BigInteger, nullable=False, server_default=text("0")),
    Column("uses", Integer, nullable=False, server_default=text("1")),
    Column("reopened", Integer, nullable=False, server_default=text("0")),
    Index("uq_coupons_code", "code", unique=True),
    Index("ix_coupons_enrolment_id", "enrolment_id"),
    Index("ix_coupons_user_id", "user_id"),
    Index(
        "ix_coupons_closes_at_id",
        "closes_at",
        "id",
        sqlite_where=text("closes_at IS NOT NULL"),
        postgresql_where=text("closes_at IS NOT NULL"),
    ),
)

# What an order does with a coupon, at most one row each. `until` is set exactly while it is reserved.
coupon_uses = Table(
    "coupon_uses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("coupon_id", Text, nullable=False),
    Column("order_id", String(255), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("standing", String(12), nullable=False),
    Column("at", Instant, nullable=False),
    Column("until", Instant),
    Column("basket", String(32), nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("discount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("revision", Integer, nullable=False),
    Index("uq_coupon_uses_coupon_id_order_id", "coupon_id", "order_id", unique=True),
    Index("ix_coupon_uses_order_id", "order_id"),
    Index("ix_coupon_uses_user_id", "user_id"),
    Index(
        "ix_coupon_uses_until_id",
        "until",
        "id",
        sqlite_where=text("until IS NOT NULL"),
        postgresql_where=text("until IS NOT NULL"),
    ),
)

# What was answered to a call under an idempotency key; `key` and `fingerprint` are hashes, `answer` is JSON.
coupon_calls = Table(
    "coupon_calls",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("called_at", Instant, nullable=False),
    Column("answer", Text, nullable=False),
    Index("ix_coupon_calls_user_id", "user_id"),
    Index("ix_coupon_calls_called_at", "called_at"),
)

# Imports of codes that were made elsewhere; one is `whole_at` the moment from which its codes are given.
coupon_batches = Table(
    "coupon_batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("offer", String(64), nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("whole_at", Instant),
    Index("ix_coupon_batches_offer", "offer"),
)

# Their codes, each given to one coupon.
coupon_codes = Table(
    "coupon_codes",
    metadata,
    Column("code", String(32), primary_key=True),
    Column("batch", Text, nullable=False),
    Column("coupon_id", Text),
    Column("given_at", Instant),
    Index("ix_coupon_codes_batch", "batch"),
    Index(
        "ix_coupon_codes_batch_code",
        "batch",
        "code",
        sqlite_where=text("coupon_id IS NULL"),
        postgresql_where=text("coupon_id IS NULL"),
    ),
)
