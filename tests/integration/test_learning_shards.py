"""Processes learn shards of the rewards: to the same version, whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from learning.errors import LearnerLost
from learning.models import model_from_bytes
from learning.rebuilding import rebuild
from learning.reward_service import RewardService
from learning.shards import InProcesses
from learning.spec import PolicySpec
from learning.training import Training
from learning.versions import PolicyVersion
from storage.engine import Database
from tests.integration.test_learning_loop import START, VOCABULARIES, WINDOW, World, run, spec, training


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learning.lessons._PAGE", 40)
    monkeypatch.setattr("learning.training._WORTH", 1)


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.close()


@contextmanager
def shared(database: Database, of: PolicySpec) -> Iterator[tuple[Training, InProcesses]]:
    sharing = InProcesses(2)
    made = Training(database, of, VOCABULARIES, sharing=sharing)
    try:
        yield made, sharing
    finally:
        made.close()


def test_shards_learn_what_one_process_learns(database: Database) -> None:
    world = World(database)
    ridge = spec(learner={"kind": "linear_gaussian"})
    with training(database, ridge) as alone:
        alone_first = run(world, alone, 2)
    with shared(database, ridge.model_copy(update={"id": "shared"})) as (made, _):
        first = made.learn(START + 2 * WINDOW)
        assert (first.shards, first.trained) == (2, alone_first.trained)
        matrix = np.random.default_rng(1).random((50, len(model_from_bytes(first.model).names)))
        one, other = (model_from_bytes(version.model) for version in (first, alone_first))
        np.testing.assert_allclose(one.predict(matrix), other.predict(matrix), rtol=0, atol=1e-9)
        # On top of what was learnt before, and errors are those of the model in charge.
        world.decide(first.serve(), START + 2 * WINDOW)
        world.live_a_fortnight(START + 2 * WINDOW)
        RewardService(database).mature(START + 3 * WINDOW)
        then = made.learn(START + 3 * WINDOW)
    assert then.shards == 2
    assert then.metrics["rows"] == then.trained - first.trained
    assert 0 < then.metrics["rms_error_before"] < 1
    for version in (first, then):
        assert rebuild(database, version.version)[1].verdict == "exact"


@pytest.mark.parametrize("kind", ["vw", "portfolio"])
def test_a_learner_that_merges_nearly_is_rebuilt_exactly_and_one_that_does_not_learns_alone(
    sqlite: Database, kind: str
) -> None:
    members = {"first": {"kind": "vw"}, "other": {"kind": "linear_gaussian"}}
    learner = {"kind": kind, "members": members} if kind == "portfolio" else {"kind": kind}
    with shared(sqlite, spec(learner=learner)) as (made, sharing):
        version = run(World(sqlite), made, 1)
        assert version.shards == (2 if kind == "vw" else 1)
        assert bool(sharing.pids) == (kind == "vw")
    assert rebuild(sqlite, version.version)[1].verdict == "exact"


def test_processes_killed_in_the_middle_leave_the_policy_good(sqlite: Database) -> None:
    world = World(sqlite)
    with shared(sqlite, spec(learner={"kind": "linear_gaussian"})) as (made, sharing):
        before = made.in_charge(START)
        world.decide(before.serve(), START)
        world.live_a_fortnight(START)
        RewardService(sqlite).mature(START + WINDOW)

        def learn() -> PolicyVersion:
            return made.learn(START + WINDOW)

        with pytest.raises(LearnerLost, match="the version in charge stays"):
            _killing(sharing, 1_000_000, learn)
        assert made.in_charge(START + WINDOW) == before
        # Once is not enough to lose anything.
        after = _killing(sharing, 1, learn)
    assert after.shards == 2
    assert after.trained > 0
    assert rebuild(sqlite, after.version)[1].verdict == "exact"


def _killing(sharing: InProcesses, most: int, learn: Callable[[], PolicyVersion]) -> PolicyVersion:
    """Kill processes as soon as there are any, so many at most, while something is learnt."""
    over = threading.Event()

    def kill() -> None:
        killed: set[int] = set()
        while not over.is_set() and len(killed) < most:
            for pid in set(sharing.pids) - killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
                if len(killed) == most:
                    break
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        return learn()
    finally:
        over.set()
        killer.join()
