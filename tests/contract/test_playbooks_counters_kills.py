"""Clients are killed while they reserve: never over, what was acknowledged stays, what leaked comes back."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest

from playbooks.counters import (
    RESERVATION,
    Budget,
    Counters,
    Spend,
    SqlCounters,
    ValkeyCounters,
    Wanted,
)
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.times import to_micros

LIMIT = 1_000
BUDGET = Budget("budget.spring", "2026-03", LIMIT)
CLIENTS = 64
PROCESSES = 4
KINDS = ["sqlite", "postgres", "valkey on postgres"]
PATIENCE = 10.0

# Takes units until there are none, as several clients of one process; says which it was granted.
CLIENT = """
import sys, threading
from datetime import timedelta
from playbooks.counters import Budget, SqlCounters, Spend, ValkeyCounters, Wanted
from storage.engine import Database
from storage.times import from_micros

name, url, valkey, now, threads, patience = sys.argv[1:]
database = Database(url)
counters = ValkeyCounters(database, valkey, patience=float(patience)) if valkey else SqlCounters(database)
budget = Budget("budget.spring", "2026-03", 1_000)
lock = threading.Lock()

def client(number):
    step = 0
    while True:
        step += 1
        decision = f"{name}-{number}-{step}"
        wanted = Wanted(decision, "ann", spends=[Spend(budget, 1)])
        reservation = counters.reserve(wanted, from_micros(int(now)))
        if (rule := database.write(reservation.keep)) == budget.rule:
            return
        if rule is None:
            with lock:
                print(decision, flush=True)

running = [threading.Thread(target=client, args=(number,)) for number in range(int(threads))]
print("ready", flush=True)
for one in running:
    one.start()
for one in running:
    one.join()
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which implementation, over which database."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest) -> str:
    """URL of the database, with its tables."""
    made: str = request.getfixturevalue(f"{kind.rpartition(' ')[2]}_url")
    Database(made).close()
    return made


@pytest.fixture
def valkey(kind: str, request: pytest.FixtureRequest) -> str:
    """URL of the Valkey, empty for none."""
    made: str = request.getfixturevalue("valkey_url") if kind.startswith("valkey") else ""
    return made


class Clients:
    """A process of clients, and what it was granted."""

    def __init__(self, name: str, url: str, valkey: str, now: int, threads: int) -> None:
        arguments = [name, url, valkey, str(now), str(threads), str(PATIENCE)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, *arguments], stdout=subprocess.PIPE, text=True
        )
        self.ready = threading.Event()
        self.granted: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def kill(self) -> None:
        self._process.kill()
        self.ended()

    def ended(self) -> int:
        code = self._process.wait()
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line == "ready\n":
                    self.ready.set()
                elif line.endswith("\n"):
                    self.granted.append(line.strip())


def begin(name: str, url: str, valkey: str, now: int, threads: int, *, kill: bool = False) -> Clients:
    """Start clients, and kill them in the middle of it if told to."""
    clients = Clients(name, url, valkey, now, threads)
    assert clients.ready.wait(60)
    if kill:
        time.sleep(random.uniform(0.01, 0.08))
        clients.kill()
    return clients


@contextmanager
def opened(url: str, valkey: str) -> Iterator[tuple[Database, Counters]]:
    database = Database(url)
    counters = ValkeyCounters(database, valkey, patience=PATIENCE) if valkey else SqlCounters(database)
    yield database, counters
    counters.close()
    database.close()


def test_killed_clients_never_take_more_than_there_is(
    kind: str, url: str, valkey: str, clock: SimulatedClock
) -> None:
    now, threads = to_micros(clock.now()), CLIENTS // PROCESSES
    if kind == "sqlite":
        # Its file belongs to one process at a time: each death is that of all clients at once.
        killed = [begin(f"k{number}", url, valkey, now, CLIENTS, kill=True) for number in range(2)]
        last = [begin("last", url, valkey, now, CLIENTS)]
    else:
        last = [Clients(f"last-{number}", url, valkey, now, threads) for number in range(PROCESSES // 2)]
        killed = [
            begin(f"k{number}", url, valkey, now, threads, kill=True) for number in range(PROCESSES // 2)
        ]
    assert [clients.ended() for clients in last] == [0] * len(last)

    acknowledged = [decision for clients in [*killed, *last] for decision in clients.granted]
    assert len(set(acknowledged)) == len(acknowledged)
    with opened(url, valkey) as (database, counters):
        with database.read() as connection:
            query = "SELECT decision_id FROM grants"
            journal = set(connection.exec_driver_sql(query).scalars())
        # Written but never acknowledged: at most one for each client that was killed.
        assert set(acknowledged) <= journal
        assert len(journal) - len(acknowledged) <= len(killed) * CLIENTS
        assert len(journal) <= LIMIT
        # Reserved but never written: only Valkey can hold that, and it returns.
        leaked = LIMIT - len(journal)
        assert leaked <= (len(killed) * CLIENTS if valkey else 0)
        assert counters.taken(BUDGET, clock.now()) == LIMIT
        database.write(lambda connection: counters.commit(connection, acknowledged))
        later = clock.now() + RESERVATION
        assert counters.taken(BUDGET, later) == len(acknowledged)
        assert counters.recount(later) == []

        def take(number: int) -> str | None:
            one = Wanted(f"after-{number}", "ann", spends=[Spend(BUDGET, 1)])
            return database.write(counters.reserve(one, later).keep)

        with ThreadPoolExecutor(8) as pool:
            after = list(pool.map(take, range(LIMIT - len(acknowledged) + 10)))
        assert after.count(None) == LIMIT - len(acknowledged)
        assert counters.recount(later + timedelta(seconds=1)) == []
