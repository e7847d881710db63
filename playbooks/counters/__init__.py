"""Counters: what caps and budgets count, checked and reserved in one atomic step.

Everything counted is a row of the database, the journal. `SqlCounters` checks against those rows in the
decision's own transaction. `ValkeyCounters` checks in Valkey and writes the rows after, so that decisions on
many processes never wait for each other's rows; docs/decisions/0007 says why it still can't exceed a limit.
"""

from __future__ import annotations

from audiences.identity.people import People
from playbooks.counters.port import (
    ASK_AGAIN,
    COUNTERS_LOST,
    COUNTERS_UNREACHABLE,
    COUNTERS_UNSETTLED,
    PASSING,
    RESERVATION,
    Budget,
    Counters,
    Difference,
    PastUse,
    Reservation,
    ReservedTogether,
    Spend,
    Wanted,
)
from playbooks.counters.sql import SqlCounters
from playbooks.counters.valkey import ValkeyCounters
from storage.engine import Database

__all__ = [
    "ASK_AGAIN",
    "COUNTERS_LOST",
    "COUNTERS_UNREACHABLE",
    "COUNTERS_UNSETTLED",
    "PASSING",
    "RESERVATION",
    "Budget",
    "Counters",
    "Difference",
    "PastUse",
    "Reservation",
    "ReservedTogether",
    "Spend",
    "SqlCounters",
    "ValkeyCounters",
    "Wanted",
    "open_counters",
]


def open_counters(database: Database, url: str = "", people: People | None = None) -> Counters:
    """Open the counters: those of the database, or of the Valkey or Redis server at `url`.

    Args:
        people: who is one person; what any of their profiles used counts for all of them.

    Raises:
        ConfigurationError: the URL can't be understood, or the server may throw counters away.
        CountersUnreachable: nothing answers at the URL.
    """
    return ValkeyCounters(database, url, people) if url else SqlCounters(database, people)
