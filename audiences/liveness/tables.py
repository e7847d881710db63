"""The table of alerts that are open."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, String, Table, Text

from storage.schema import metadata
from storage.times import Instant

# One row a cause: the whole source where `name` is empty, or events of a name; `what` is silence or jump.
# `names` are the events that a silent source used to send. `seen` had arrived since the hour of `since` when
# it was opened, `resumed_at` is when something came again.
open_alerts = Table(
    "open_alerts",
    metadata,
    Column("source", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("what", String(8), primary_key=True),
    Column("alert_id", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("expected", Float(53), nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("resumed_at", Instant),
    Column("names", Text, nullable=False),
)
