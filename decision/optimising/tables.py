"""Tables of the optimisation log."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, Text

from storage.schema import metadata

# What the files of the library said when they were read last, so that what is different is told as a change.
library_settings = Table(
    "library_settings",
    metadata,
    Column("file", String(64), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("body", Text, nullable=False),
)
