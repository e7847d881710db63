"""Experiments: a fixed split whose test may be looked at every day, and the check of the split."""

from __future__ import annotations

import doctest
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from decision.cli import app
from learning.errors import NoExperiment
from learning.evaluation import Log
from learning.evaluation.experiment import Experiment, experiment
from learning.evaluation.sample_ratio import sample_ratio


def split(
    seed: int, n: int, values: list[float], shares: list[float], drawn: list[float] | None = None
) -> Log:
    """Rounds of a fixed split over ten days; `drawn` are the shares that were really drawn."""
    rng = np.random.default_rng(seed)
    action = rng.choice(len(values), n, p=drawn or shares)
    rewards = (rng.random(n) < np.array(values)[action]).astype(np.float64)
    moments = np.datetime64("2026-03-02T00:00", "us") + (np.arange(n) * (864_000 / n)).astype(
        "timedelta64[s]"
    )
    names = tuple("abc"[: len(values)])
    return Log(names, action, rewards, np.array(shares)[action], moments=moments)


def test_examples_in_the_documentation_hold() -> None:
    tried = doctest.testmod(import_module("learning.evaluation.sample_ratio"))
    assert (tried.attempted, tried.failed) == (2, 0)


def test_a_better_content_is_found_and_every_day_is_told() -> None:
    found = experiment(split(1, 6000, [0.1, 0.16], [0.5, 0.5]), "a")
    (one,) = found.comparisons
    assert (found.verdict, one.verdict) == ("b better", "better")
    assert one.interval[0] < 0.06 < one.interval[1]
    assert [day.day for day in found.days] == [f"2026-03-{day:02d}" for day in range(2, 12)]
    assert found.days[-1].interval == one.interval
    widths = [day.interval[1] - day.interval[0] for day in found.days]
    assert widths[0] > 2 * widths[-1]
    assert found.sample_ratio.ok
    assert [arm.value for arm in found.arms] == [pytest.approx(0.1, abs=0.02), pytest.approx(0.16, abs=0.02)]


def test_looking_every_day_hardly_ever_finds_what_is_not_there() -> None:
    alarms = 0
    for seed in range(30):
        found = experiment(split(seed, 1000, [0.1, 0.1], [0.5, 0.5]), "a")
        alarms += any(not day.interval[0] <= 0 <= day.interval[1] for day in found.days)
    assert alarms <= 3


def test_several_arms_share_the_error_and_uneven_splits_do_as_well() -> None:
    found = experiment(split(2, 9000, [0.1, 0.1, 0.2], [0.6, 0.2, 0.2]))
    assert found.control == "a"
    assert {one.arm: one.verdict for one in found.comparisons} == {"b": "not distinguishable", "c": "better"}


def test_a_split_that_did_not_come_up_as_it_was_set_is_told() -> None:
    found = experiment(split(3, 6000, [0.1, 0.2], [0.5, 0.5], [0.55, 0.45]))
    assert not found.sample_ratio.ok
    assert found.verdict.startswith("not evaluable: the arms did not come up as the split says")


def test_the_check_of_the_split_may_be_looked_at_after_every_decision() -> None:
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(200):
        first = np.cumsum(rng.random(1500) < 0.3)
        looks = [np.array([first[n], n + 1 - first[n]], dtype=np.float64) for n in range(9, 1500, 10)]
        alarms += min(sample_ratio(counts, np.array([0.3, 0.7])) for counts in looks) < 0.05
    assert alarms <= 10


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"propensities": np.linspace(0.4, 0.6, 100)}, "no fixed split drew these rounds"),
        ({"propensities": np.full(100, 0.4)}, "sum to 0.8 instead of 1"),
        ({"action": np.zeros(100, dtype=np.intp), "propensities": np.ones(100)}, "one arm only"),
        ({"logged_dist": np.random.default_rng(0).dirichlet([1, 1], 100)}, "vectors change"),
    ],
)
def test_what_is_no_fixed_split_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(NoExperiment, match=said):
        experiment(replace(split(5, 100, [0.1, 0.1], [0.5, 0.5]), **changed))


def test_a_control_that_is_no_arm_is_refused() -> None:
    with pytest.raises(NoExperiment, match="its arms are a, b"):
        experiment(split(6, 100, [0.1, 0.1], [0.5, 0.5]), "z")


def test_the_command_reads_a_file(tmp_path: Path) -> None:
    log = split(7, 2000, [0.1, 0.3], [0.5, 0.5])
    rows = zip(log.action, log.rewards, log.propensities, log.moments.astype(str), strict=True)  # type: ignore[union-attr]
    lines = [f"{log.actions[a]},{r:g},{p:g},{at}Z" for a, r, p, at in rows]
    path = tmp_path / "split.csv"
    path.write_text("\n".join(["action,reward,pscore,occurred_at", *lines]) + "\n")
    told = CliRunner().invoke(app, ["experiments", str(path), "--control", "a"])
    assert told.exit_code == 0, told.output
    assert told.output.startswith("b better (against a, 95% at all times at once)")
    assert "split: as it was set" in told.output
    as_json = CliRunner().invoke(app, ["experiments", str(path), "--control", "a", "--json"])
    assert msgspec.json.decode(as_json.output, type=Experiment) == experiment(log, "a")
