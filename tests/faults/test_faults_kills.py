"""The short form of `make chaos`: services killed, cut off and short of disk lose and double nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from storage.faultpoints import POINTS
from tests.faults.chaos import Campaign
from tests.faults.harness import Launcher
from tests.faults.planning import (
    AIMS,
    ANYWHERE,
    CRASH,
    CUT,
    DISK,
    JOBS_PROCESS,
    LEARNER,
    STARTING,
    VALKEY,
    plan,
)
from tests.faults.stores import CounterServer, PostgresServer, Store
from tests.faults.tally import Tally, table


def test_sqlite_keeps_what_it_acknowledged(launcher: Launcher, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'nextplay.db'}")
    campaign = Campaign(launcher, store, tmp_path, None, "short")
    for fault in ("writer.committed", DISK, LEARNER, JOBS_PROCESS, ANYWHERE, "feed.before_cursor"):
        campaign.inflict(fault)
    assert campaign.harness.lose_power() == 0
    kept(campaign.end())


def test_postgres_keeps_what_it_acknowledged(
    launcher: Launcher, postgres: PostgresServer, tmp_path: Path
) -> None:
    campaign = Campaign(launcher, postgres.create(), tmp_path, postgres, "short")
    for fault in (CUT, CRASH, "writer.before_commit", JOBS_PROCESS, "relay.handed_over"):
        campaign.inflict(fault)
    kept(campaign.end())


def test_valkey_may_be_lost(launcher: Launcher, postgres: PostgresServer, tmp_path: Path) -> None:
    counters = CounterServer(tmp_path / "valkey")
    try:
        campaign = Campaign(launcher, postgres.create(), tmp_path / "data", postgres, "short", counters)
        for fault in (VALKEY, "relay.handed_over", VALKEY, VALKEY):
            campaign.inflict(fault)
        kept(campaign.end())
    finally:
        counters.close()


def kept(tally: Tally) -> None:
    """Fail unless enough was acknowledged to tell, and every promise about it was kept."""
    assert tally.events > 50, table(tally)
    assert tally.acting > 10, table(tally)
    assert tally.uses > 10, table(tally)
    assert not tally.findings, table(tally)


@pytest.mark.parametrize("postgres", [False, True])
def test_two_hundred_kills_are_ten_at_every_step(postgres: bool) -> None:
    faults = plan(100, postgres=postgres, chance=random.Random(1))
    assert (
        plan(3, postgres=postgres, chance=random.Random(1), only=[ANYWHERE, DISK if postgres else VALKEY])
        == [ANYWHERE] * 3
    )
    assert AIMS.keys() == POINTS.keys()
    assert min(faults.count(step) for step in (*POINTS, STARTING, LEARNER, JOBS_PROCESS, ANYWHERE)) >= 5
    assert len([one for one in faults if one not in {DISK, CUT, CRASH, VALKEY}]) >= 100
