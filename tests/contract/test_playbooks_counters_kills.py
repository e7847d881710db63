"""Clients are killed while they reserve: never over, what was acknowledged stays, what leaked comes back."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from playbooks.counters import (
    RESERVATION,
    Counters,
    Spend,
    SqlCounters,
    ValkeyCounters,
    Wanted,
)
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.times import to_micros
from tests.faults.launcher import Request
from tests.launching import Forked, launcher
from tests.reserving import BUDGET, READY

LIMIT = BUDGET.limit
CLIENTS = 64
PROCESSES = 4
KINDS = ["sqlite", "postgres", "valkey on postgres"]
PATIENCE = 10.0


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

    def __init__(self, folder: Path, name: str, url: str, valkey: str, now: int, threads: int) -> None:
        arguments = [name, url, valkey, str(now), str(threads), str(PATIENCE)]
        self._said, errors = folder / f"{name}.said", folder / f"{name}.errors"
        self._said.touch()
        request = Request(arguments, str(self._said), str(errors), entry="tests.reserving:main")
        self._process = Forked(launcher().start(request))

    @property
    def granted(self) -> list[str]:
        """Decisions whose line was written whole."""
        return [line for line in self._said.read_text().split("\n")[:-1] if line != READY]

    def wait_until_ready(self) -> None:
        until = time.monotonic() + 60
        while READY not in self._said.read_text():
            assert time.monotonic() < until
            time.sleep(0.002)

    def kill(self) -> None:
        self._process.kill()
        self.ended()

    def ended(self) -> int:
        return self._process.wait()


def begin(
    folder: Path, name: str, url: str, valkey: str, now: int, threads: int, *, kill: bool = False
) -> Clients:
    """Start clients, and kill them in the middle of it if told to."""
    clients = Clients(folder, name, url, valkey, now, threads)
    clients.wait_until_ready()
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
    kind: str, url: str, valkey: str, clock: SimulatedClock, tmp_path: Path
) -> None:
    now, threads = to_micros(clock.now()), CLIENTS // PROCESSES
    if kind == "sqlite":
        # Its file belongs to one process at a time: each death is that of all clients at once.
        killed = [begin(tmp_path, f"k{number}", url, valkey, now, CLIENTS, kill=True) for number in range(2)]
        last = [begin(tmp_path, "last", url, valkey, now, CLIENTS)]
    else:
        half = range(PROCESSES // 2)
        last = [Clients(tmp_path, f"last-{one}", url, valkey, now, threads) for one in half]
        killed = [begin(tmp_path, f"k{one}", url, valkey, now, threads, kill=True) for one in half]
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
