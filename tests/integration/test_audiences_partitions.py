"""Audiences over partitions of Ray Data are what they are in one process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from audiences.errors import ClusterUnreachable
from audiences.rules import parse
from audiences.selection import population
from audiences.selection.counting import Counting
from audiences.selection.crowds import Share
from audiences.selection.partitions import OverRay
from audiences.service import rule_schema, set_tag
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from learning import shards
from learning.models import model_from_bytes
from learning.spec import PolicySpec
from learning.training import Training
from storage.engine import Database
from tests.integration import test_learning_loop as loop
from tests.integration.business import DAY, T1, Business

RULES = """
audiences:
  - {id: recent, name: Lately, rule: orders_4w > 0 OR tag('vip')}
  - {id: company, name: Of a company that buys, rule: account.orders_12w > 1}
  - {id: both, name: Both, rule: in_audience('recent') AND account.orders_12w > 1}
  - {id: only, name: Recent alone, sets: {union: [recent], except: [company]}}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Whatever cluster the tests start: as in a service, the first evaluation does, in its own thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray

        with pytest.MonkeyPatch.context() as patched:
            # One process that works, for each of them has to import Feast.
            small = partial(ray.init, num_cpus=1, object_store_memory=100_000_000)
            patched.setattr(ray, "init", small)
            yield
        ray.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_partitions_read_their_own_and_give_the_same_memberships(
    cluster: None, business: Business, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(population, "SHARE", 16)
    for number in range(19):
        business.order(f"user-{number}", T1 - (number % 6) * 20 * DAY)
        if number % 3 == 0:
            business.group(f"user-{number}", "acme", T1 - 20 * DAY)
    business.compute(T1)
    business.database.write(lambda connection: set_tag(connection, "user-7", "vip", "test", T1, None))
    here = business.open(RULES)
    here.evaluate(T1)
    before = {name: here.memberships.members(name) for name in here.memberships.live}
    assert all(0 < len(members) < 23 for members in before.values())
    over_ray = business.open(RULES, reader=OverRay("local", business.features, partition=1))

    def read(*_: object, **__: object) -> None:
        raise AssertionError("the process that asks reads no features")

    with monkeypatch.context() as patched:
        patched.setattr(business.features, "historical", read)
        over_ray.evaluate(T1)
        assert {name: over_ray.memberships.members(name) for name in over_ray.memberships.live} == before
        # A draft is answered where they lie, too.
        counted = Counting(business.database, over_ray).count("orders_12w > 0 OR tag('vip')", None, T1)
    assert (counted.users, counted.sampled) == (23, None)
    assert counted == Counting(business.database, here).count("orders_12w > 0 OR tag('vip')", None, T1)


@pytest.mark.filterwarnings("ignore")
def test_shards_of_the_learner_are_tasks_of_the_same_cluster(
    cluster: None, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("learning.lessons._PAGE", 40)
    monkeypatch.setattr("learning.training._WORTH", 1)
    ridge = loop.spec(learner={"kind": "linear_gaussian"})
    database = Database(sqlite_url)
    with closing(database):
        _compare(database, ridge)


def _compare(database: Database, ridge: PolicySpec) -> None:
    with loop.training(database, ridge) as alone:
        there = loop.run(loop.World(database), alone, 1)
    shared = ridge.model_copy(update={"id": "shared"})
    sharing = shards.OverRay("local", 2)
    with closing(Training(database, shared, loop.VOCABULARIES, sharing=sharing)) as made:
        version = made.learn(loop.START + loop.WINDOW)
        assert (version.shards, version.trained) == (2, there.trained)
    rows = np.random.default_rng(1).random((20, len(model_from_bytes(version.model).names)))
    one, other = (model_from_bytes(some.model).predict(rows) for some in (version, there))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_nobody_is_there(cluster: None, tmp_path: Path) -> None:
    features = FeatureRepository(tmp_path / "features", load_specs())
    nobody = OverRay("local", features).read([], ["orders_4w"], T1, lambda: None)
    schema = rule_schema(load_specs())
    assert nobody.answer([parse("orders_4w > 0", schema)], {}, {}, T1).shape == (1, 0)


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray

    def nothing_there(**_: object) -> None:
        raise ConnectionError("no answer")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", nothing_there)
    features = FeatureRepository(tmp_path / "features", load_specs())
    someone = Share(["ann"], [None], {}, {})
    with pytest.raises(ClusterUnreachable, match=r"at '10\.0\.0\.7:6379' \(no answer\)"):
        OverRay("10.0.0.7:6379", features).read([someone], [], T1, lambda: None)
