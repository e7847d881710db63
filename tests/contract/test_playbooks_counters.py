"""Counters: never one over, and what is not used comes back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from playbooks import counters
from playbooks.flow import Flow
from playbooks.models import Cap, Goal, Playbook, VariantSet
from storage.clock import SimulatedClock
from storage.engine import Database

WEEK = timedelta(days=7)


def capped(limit: int) -> Playbook:
    return Playbook(
        id="weekly",
        name="weekly",
        placement="home",
        goal=Goal(event="order_completed", window=WEEK),
        variants=[VariantSet(group="g", channel="mailbox", content="c")],
        constraints=[Cap(id="few", limit=limit, window=WEEK)],
        flow=Flow.model_validate({"start": "x", "states": {"x": {"kind": "end", "result": "r"}}}),
    )


def reserve(database: Database, playbook: Playbook, decision: str, now: Any, user: str = "ann") -> str | None:
    return database.write(lambda c: counters.reserve(c, playbook, user, decision, now))


def counted(database: Database, now: Any) -> int:
    with database.read() as connection:
        return len(counters.read(connection, "ann", now, since=now - WEEK).get("cap.weekly.few", ()))


def test_never_one_over_under_concurrency(database: Database, clock: SimulatedClock) -> None:
    playbook, now = capped(10), clock.now()
    with ThreadPoolExecutor(16) as pool:
        refusals = list(pool.map(lambda n: reserve(database, playbook, f"d{n}", now), range(100)))
    assert refusals.count(None) == 10
    assert refusals.count("cap.weekly.few") == 90
    assert counted(database, now) == 10


def test_users_do_not_share_a_cap(database: Database, clock: SimulatedClock) -> None:
    playbook = capped(1)
    assert reserve(database, playbook, "d1", clock.now()) is None
    assert reserve(database, playbook, "d2", clock.now(), user="bob") is None
    assert reserve(database, playbook, "d3", clock.now()) == "cap.weekly.few"


def test_a_reservation_that_is_not_committed_comes_back(database: Database, clock: SimulatedClock) -> None:
    playbook = capped(1)
    reserve(database, playbook, "d1", clock.now())
    clock.move_to(clock.now() + counters.RESERVATION)
    assert counted(database, clock.now()) == 0
    assert reserve(database, playbook, "d2", clock.now()) is None


def test_a_committed_use_counts_for_the_whole_window(database: Database, clock: SimulatedClock) -> None:
    playbook, start = capped(1), clock.now()
    reserve(database, playbook, "d1", start)
    database.write(lambda c: counters.commit(c, ["d1"]))
    clock.move_to(start + WEEK - timedelta(seconds=1))
    assert reserve(database, playbook, "d2", clock.now()) == "cap.weekly.few"
    clock.move_to(start + WEEK)
    assert reserve(database, playbook, "d2", clock.now()) is None


def test_a_released_use_is_free_again(database: Database, clock: SimulatedClock) -> None:
    playbook, now = capped(1), clock.now()
    reserve(database, playbook, "d1", now)
    with database.read() as connection:
        assert counters.holds(connection, "d1", now)
    database.write(lambda c: counters.release(c, ["d1"]))
    with database.read() as connection:
        assert not counters.holds(connection, "d1", now)
    assert reserve(database, playbook, "d2", now) is None


def test_a_committed_use_is_not_released(database: Database, clock: SimulatedClock) -> None:
    playbook, now = capped(1), clock.now()
    reserve(database, playbook, "d1", now)
    database.write(lambda c: counters.commit(c, ["d1"]))
    database.write(lambda c: counters.release(c, ["d1"]))
    assert counted(database, now) == 1
