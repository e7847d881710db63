"""Rules over partitions of Ray Data give what they give in one process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from audiences.rules import Columns
from audiences.selection.evaluation import locally
from audiences.selection.partitions import over_ray
from benchmarks import people


@pytest.fixture(scope="module")
def small_ray() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray

        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
        yield
        ray.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_partitions_give_the_same_bits(small_ray: None) -> None:
    table, rules = people.people(1_003), people.rules(20)
    tags = {"vip": np.random.default_rng(3).random(1_003) < 0.3}
    columns = Columns.from_arrow(table, tags=tags)
    here = locally(1)(rules, columns, people.NOW)
    assert np.array_equal(over_ray("local", partition=256)(rules, columns, people.NOW), here)
    empty = Columns.from_arrow(table.slice(0, 0))
    assert np.asarray(over_ray("local")(rules, empty, people.NOW)).shape == (20, 0)
