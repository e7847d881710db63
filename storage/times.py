"""Moments as the database keeps them: whole microseconds since 1970, the same on every database.

SQLite hands back naive datetimes and Postgres rounds to the session's zone; an integer does neither,
and compares fast.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Dialect
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Return an aware datetime as whole microseconds since 1970-01-01T00:00Z."""
    # Several times a decision: in plain numbers it takes a third less than dividing by a timedelta.
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(micros: int) -> datetime:
    """Return the aware UTC datetime of `micros` microseconds since 1970-01-01T00:00Z."""
    return EPOCH + timedelta(0, 0, micros)


class Instant(TypeDecorator[datetime]):
    """A column of aware UTC datetimes, kept as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else from_micros(value)
