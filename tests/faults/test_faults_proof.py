"""The harness notices: each promise that is broken on purpose makes it report what was lost or doubled."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import create_engine, delete, select

from playbooks.tables import uses
from tests.faults.harness import Harness, Launcher
from tests.faults.invariants import Finding, recounted
from tests.faults.stores import CounterServer, PostgresServer, Store


def test_an_answer_before_the_commit_is_noticed(launcher: Launcher, tmp_path: Path) -> None:
    found = killed_before_commit(launcher, tmp_path, ["acknowledge_before_commit"])
    assert any(one.kind == "lost" and one.what.startswith(("event", "decision")) for one in found), found


def killed_before_commit(launcher: Launcher, data: Path, alterations: list[str]) -> list[Finding]:
    """Kill a service on SQLite a few times where its rows are written and not committed."""
    store = Store(f"sqlite:///{data / 'nextplay.db'}")
    harness = Harness(launcher, store, data, seed="proof", alterations=alterations)
    harness.kill()
    for passages in (15, 25):
        if harness.start(f"writer.before_commit:{passages}"):
            harness.load.resume(("push",))
            harness.wait_dead(20.0)
            harness.load.pause()
        harness.kill()
    assert harness.start()
    return harness.settle() + harness.close()


@pytest.mark.parametrize("forced", [True, False])
def test_a_file_that_is_not_forced_to_disk_is_noticed(
    forced: bool, launcher: Launcher, tmp_path: Path
) -> None:
    store = Store(f"sqlite:///{tmp_path / 'nextplay.db'}")
    alterations = [] if forced else ["no_fsync"]
    harness = Harness(launcher, store, tmp_path, seed="proof", alterations=alterations)
    assert bool(harness.lose_power()) is not forced
    assert harness.start()
    found = harness.settle() + harness.close()
    assert forced is (not found), found
    assert forced or any(one.kind == "lost" and "in the history" in one.what for one in found), found


def test_a_use_that_valkey_counts_and_the_journal_does_not_is_noticed(
    launcher: Launcher, postgres: PostgresServer, tmp_path: Path
) -> None:
    counters, store = CounterServer(tmp_path / "valkey"), postgres.create()
    try:
        harness = Harness(launcher, store, tmp_path / "data", seed="proof", counters=counters)
        harness.ask(80)
        harness.run("deliver")
        now = harness.load.now
        harness.close()
        engine = create_engine(store.url)
        with engine.begin() as connection:
            decision = connection.execute(select(uses.c.decision_id).limit(1)).scalar_one()
            before = recounted(store, counters, now)
            connection.execute(delete(uses).where(uses.c.decision_id == decision))
        engine.dispose()
        assert not [one for one in before if "otherwise" in one.what], before
        found = recounted(store, counters, now)
    finally:
        counters.close()
    assert [one for one in found if "Valkey counts otherwise" in one.what], found


@pytest.mark.parametrize("lease", [True, False])
def test_a_message_that_is_not_leased_is_noticed(
    lease: bool, launcher: Launcher, postgres: PostgresServer, tmp_path: Path
) -> None:
    alterations = ["slow_hand_overs"] if lease else ["slow_hand_overs", "no_message_lease"]
    found = delivered_by_two(launcher, postgres.create(), tmp_path, alterations)
    twice = [one for one in found if one.kind == "doubled" and one.what.startswith("hand-over")]
    assert bool(twice) is not lease, found
    assert lease is (not found), found


def delivered_by_two(launcher: Launcher, store: Store, data: Path, alterations: list[str]) -> list[Finding]:
    """Let two services hand over the messages of the same decisions at the same time."""
    harness = Harness(launcher, store, data, seed="proof", alterations=alterations)
    harness.ask(60)
    with harness.beside() as second, harness.connect() as first:
        threads = [threading.Thread(target=deliver, args=(http,)) for http in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return harness.settle() + harness.close()


def deliver(http: httpx2.Client) -> None:
    """Ask for deliveries so often that some fall into the other's, whoever began."""
    for _ in range(30):
        # Whatever it answers: without leases the two are in each other's way.
        http.post("/v1/jobs/deliver")
