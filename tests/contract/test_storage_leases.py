"""Leases on both databases: one holder at a time, tokens that grow, and writes that a lost lease stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text, update

from storage.engine import Database
from storage.errors import DatabaseUnavailable
from storage.leases import Fence, Lease, LeaseLost, Leases, check
from storage.leases_table import leases as table

LONG = timedelta(minutes=1)
SHORT = timedelta(milliseconds=150)


@pytest.fixture
def leases(database: Database) -> Iterator[Leases]:
    opened = Leases(database)
    yield opened
    opened.close()


def taken(lease: Lease | None) -> Lease:
    assert lease is not None
    return lease


def end(database: Database, name: str) -> None:
    """Let a lease end now, if somebody holds it."""
    held = update(table).where(table.c.name == name, table.c.holder.is_not(None))
    database.write(lambda c: c.execute(held.values(expires_at=1)))


def test_one_holder_at_a_time(leases: Leases) -> None:
    first = taken(leases.acquire("learn", "a", LONG))
    assert (first.token, first.is_current) == (1, True)
    assert leases.acquire("learn", "b", LONG) is None
    assert leases.acquire("learn", "a", LONG) is None
    assert leases.holder_of("learn") == "a"
    assert taken(leases.acquire("reward", "b", LONG)).token == 1


def test_what_is_given_back_is_free_at_once(leases: Leases) -> None:
    first = taken(leases.acquire("learn", "a", LONG))
    leases.release(first)
    assert leases.holder_of("learn") is None
    assert taken(leases.acquire("learn", "b", LONG)).token == 2
    leases.release(first)
    assert leases.holder_of("learn") == "b"
    with pytest.raises(LeaseLost, match="'learn' of 'a'"):
        leases.renew(first, LONG)


def test_an_ended_lease_is_taken_over_and_its_holder_told(leases: Leases) -> None:
    first = taken(leases.acquire("learn", "a", SHORT))
    time.sleep(SHORT.total_seconds() * 1.2)
    assert not first.is_current
    assert leases.holder_of("learn") is None
    second = taken(leases.acquire("learn", "b", LONG))
    assert second.token == first.token + 1
    with pytest.raises(LeaseLost):
        leases.renew(first, LONG)
    assert leases.holder_of("learn") == "b"


def test_an_ended_lease_that_nobody_took_can_be_renewed(leases: Leases, database: Database) -> None:
    first = taken(leases.acquire("learn", "a", LONG))
    end(database, "learn")
    again = leases.renew(first, LONG)
    assert (again.token, again.is_current) == (first.token, True)
    assert leases.acquire("learn", "b", LONG) is None


def test_renewing_keeps_others_out(leases: Leases) -> None:
    lease = taken(leases.acquire("learn", "a", SHORT))
    for _ in range(5):
        time.sleep(SHORT.total_seconds() / 2)
        lease = leases.renew(lease, SHORT)
        assert leases.acquire("learn", "b", LONG) is None


def test_abandoned_leases_are_those_that_ended_without_being_given_back(
    leases: Leases, database: Database
) -> None:
    for name in ("process/a", "process/b", "process/c", "process_d"):
        leases.acquire(name, "a", LONG)
    given_back = taken(leases.acquire("process/e", "a", LONG))
    leases.release(given_back)
    for name in ("process/b", "process/c", "process_d"):
        end(database, name)
    assert leases.abandoned("process/") == ["process/b", "process/c"]
    leases.forget(taken(leases.acquire("process/b", "z", LONG)))
    assert leases.abandoned("process/") == ["process/c"]
    assert taken(leases.acquire("process/b", "y", LONG)).token == 1


def test_a_fence_lets_through_only_under_the_lease(leases: Leases, database: Database) -> None:
    database.write(lambda c: c.execute(text("INSERT INTO cursors (reader, position) VALUES ('r', 0)")))
    fence = Fence(database)

    def step(connection: Connection) -> None:
        connection.execute(text("UPDATE cursors SET position = position + 1"))

    first = taken(leases.acquire("learn", "a", LONG))
    with fence.under(first):
        fence.database.write(step)
        end(database, "learn")
        fence.database.write(step)  # nobody took it: whatever was written is in order
        taken(leases.acquire("learn", "b", LONG))
        with pytest.raises(LeaseLost, match="nothing was written"):
            fence.database.write(step)
    fence.stop()
    with pytest.raises(DatabaseUnavailable, match="shutting down"):
        fence.database.write(step)
    with database.read() as connection:
        assert connection.execute(text("SELECT position FROM cursors WHERE reader = 'r'")).scalar() == 2
    fence.database.writer.close()
    database.write(step)


def test_without_a_lease_nothing_passes_on_postgres(database: Database) -> None:
    fence = Fence(database)
    if database.is_sqlite:
        assert fence.database.write(lambda c: c.execute(text("SELECT 1")).scalar()) == 1
    else:
        with pytest.raises(LeaseLost, match="without one"):
            fence.database.write(lambda c: c.execute(text("SELECT 1")).scalar())


def test_a_takeover_waits_for_the_write_under_way(postgres_url: str) -> None:
    database = Database(postgres_url)
    holder, contender = Leases(database), Leases(database)
    lease = taken(holder.acquire("learn", "a", LONG))
    end(database, "learn")
    checked, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def write(connection: Connection) -> None:
        check(connection, lease)
        checked.set()
        go_on.wait()
        order.append("written")

    def take_over() -> None:
        taken(contender.acquire("learn", "b", LONG))
        order.append("taken over")

    writing = database.writer.submit(write)
    checked.wait()
    taking = threading.Thread(target=take_over)
    taking.start()
    time.sleep(0.2)
    assert order == []
    go_on.set()
    writing.result()
    taking.join()
    assert order == ["written", "taken over"]
    for one in (holder, contender, database):
        one.close()


def test_contenders_never_hold_it_together(postgres_url: str) -> None:
    """Four of them, of which some forget to give back, some renew late; each counts while it holds."""
    database = Database(postgres_url)
    ttl = timedelta(milliseconds=40)
    enough, latest = 100, time.monotonic() + 60
    inside: dict[str, Lease] = {}
    together: list[list[Lease]] = []
    tokens: list[int] = []
    guard = threading.Lock()

    def contend(holder: str, chance: Random) -> None:
        mine = Leases(database)
        while len(tokens) < enough and time.monotonic() < latest:
            lease = mine.acquire("learn", holder, ttl)
            if lease is None:
                time.sleep(0.002)
                continue
            with guard:
                tokens.append(lease.token)
                inside[holder] = lease
            while chance.random() < 0.6:
                time.sleep(chance.random() * 0.01)
                with guard:
                    holding = [one for one in inside.values() if one.is_current]
                    if len(holding) > 1:
                        together.append(holding)
                try:
                    lease = mine.renew(lease, ttl)
                except LeaseLost:
                    break
                with guard:
                    inside[holder] = lease
            with guard:
                del inside[holder]
            if chance.random() < 0.7:
                mine.release(lease)
        mine.close()

    threads = [threading.Thread(target=contend, args=(f"h{n}", Random(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()
    assert not together
    assert len(tokens) >= enough
    assert len(set(tokens)) == len(tokens)


class Model:
    """What leases should do, in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str | None, int, bool]] = {}

    def acquire(self, name: str, holder: str) -> int | None:
        held_by, token, ended = self.rows.get(name, (None, 0, False))
        if held_by is not None and not ended:
            return None
        self.rows[name] = (holder, token + 1, False)
        return token + 1

    def renew(self, name: str, holder: str, token: int) -> bool:
        held_by, newest, _ = self.rows[name]
        if (held_by, newest) != (holder, token):
            return False
        self.rows[name] = (holder, token, False)
        return True

    def release(self, name: str, holder: str, token: int) -> None:
        held_by, newest, _ = self.rows[name]
        if (held_by, newest) == (holder, token):
            self.rows[name] = (None, token, False)

    def end(self, name: str) -> None:
        if name in self.rows and self.rows[name][0] is not None:
            holder, token, _ = self.rows[name]
            self.rows[name] = (holder, token, True)


steps = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "renew", "release", "end"]),
        st.sampled_from(["x", "y"]),
        st.sampled_from(["a", "b", "c"]),
    ),
    max_size=25,
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps)
def test_leases_do_what_their_model_does(
    leases: Leases, database: Database, steps: list[tuple[str, str, str]]
) -> None:
    database.write(lambda c: c.execute(table.delete()))
    model, last = Model(), dict[tuple[str, str], Lease]()
    for what, name, holder in steps:
        mine = last.get((name, holder))
        if what == "acquire":
            lease = leases.acquire(name, holder, LONG)
            assert (lease and lease.token) == model.acquire(name, holder)
            if lease:
                last[name, holder] = lease
        elif what == "end":
            end(database, name)
            model.end(name)
        elif mine is None:
            continue
        elif what == "release":
            leases.release(mine)
            model.release(name, holder, mine.token)
        elif model.renew(name, holder, mine.token):
            last[name, holder] = msgspec.structs.replace(leases.renew(mine, LONG))
        else:
            with pytest.raises(LeaseLost):
                leases.renew(mine, LONG)
        held_by, _, ended = model.rows.get(name, (None, 0, False))
        assert leases.holder_of(name) == (None if ended else held_by)
