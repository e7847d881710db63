"""Clients of counters, for tests that kill them: a process that takes units of a budget until there are none.

Its arguments are a name, the URL of the database, that of a Valkey or nothing, the moment in microseconds,
how many clients there are, and the seconds that they wait for Valkey.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from itertools import count

from playbooks.counters import Budget, Counters, Spend, SqlCounters, ValkeyCounters, Wanted
from storage.engine import Database
from storage.times import from_micros

READY = "ready"
BUDGET = Budget("budget.spring", "2026-03", 1_000)


def main() -> None:
    """Say that it is ready, and then each decision that was granted a unit, one a line."""
    name, url, valkey, now, threads, patience = sys.argv[1:]
    database = Database(url)
    counters = ValkeyCounters(database, valkey, patience=float(patience)) if valkey else SqlCounters(database)
    saying, moment = threading.Lock(), from_micros(int(now))

    def take(number: int) -> None:
        for decision in _granted(database, counters, f"{name}-{number}", moment):
            with saying:
                _say(decision)

    running = [threading.Thread(target=take, args=(number,)) for number in range(int(threads))]
    _say(READY)
    for one in running:
        one.start()
    for one in running:
        one.join()


def _granted(database: Database, counters: Counters, client: str, now: datetime) -> Iterator[str]:
    for step in count(1):
        decision = f"{client}-{step}"
        reservation = counters.reserve(Wanted(decision, "ann", spends=[Spend(BUDGET, 1)]), now)
        rule = database.write(reservation.keep)
        if rule == BUDGET.rule:
            return
        if rule is None:
            yield decision


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
