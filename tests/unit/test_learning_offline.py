"""Policies learnt from logs: parted rounds, what a version is worth, and a grid whose choice is proved."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from decision.version_files import holds_version, read_version
from learning.errors import (
    BrokenWeights,
    InvalidRounds,
    InvalidRows,
    LearningError,
    PolicySpecError,
    UnknownCandidate,
)
from learning.evaluation import read_log
from learning.evaluation.log import Log
from learning.offline import LoggedRounds, published, read_grid, read_rounds, train, tune
from learning.offline.candidates import trained_candidate
from learning.offline.train import later, vectors_of
from learning.spec import PolicySpec

NOW = datetime(2026, 3, 2, tzinfo=UTC)
SPEC = """
id: from_log
placements: [home]
features:
  - {scalar: x}
  - {one_hot: arm.action}
learner: {kind: linear_gaussian, per: arm.action}
exploration: {kind: epsilon_greedy, epsilon: {start: 0.1, floor: 0.1, half_life: 1}}
"""


def spec(text: str = SPEC) -> PolicySpec:
    return PolicySpec.model_validate(yaml.safe_load(text))


def logged(n: int = 400, *, owners: bool = False, seed: int = 0) -> LoggedRounds:
    """Rounds drawn evenly; "up" earns where x is high, "down" where it is low."""
    rng = np.random.default_rng(seed)
    x, action = rng.uniform(-1, 1, n), rng.integers(0, 2, n)
    rewards = (rng.random(n) < np.where(action == 0, 0.5 + 0.4 * x, 0.5 - 0.4 * x)).astype(float)
    log = Log(
        ("up", "down"),
        action.astype(np.intp),
        rewards,
        np.full(n, 0.5),
        logged_dist=np.full((n, 2), 0.5),
        context=x[:, None],
        owners=rng.permutation(np.arange(n) // 4) if owners else None,
    )
    return LoggedRounds(log, {"x": x})


def test_a_policy_learns_from_a_log_and_is_worth_what_it_would_earn() -> None:
    rounds = logged(2_000)
    trained = train(rounds, spec(), NOW)
    assert (trained.rounds, trained.held_out.rounds) == (1_400, 600)
    assert trained.version.trained == 1_400
    vectors = vectors_of(trained.version, rounds)
    x = rounds.scalars["x"]
    truth = (vectors[:, 0] * (0.5 + 0.4 * x) + vectors[:, 1] * (0.5 - 0.4 * x)).mean()
    assert truth > 0.65
    held_out = trained.held_out
    assert held_out.interval is not None
    low, high = held_out.interval
    assert low is not None
    assert high is not None
    assert low <= truth <= high
    assert held_out.verdict.startswith("better")
    assert held_out.rms_error < held_out.constant_error
    again = train(rounds, spec(), NOW)
    assert again.version.to_bytes() == trained.version.to_bytes()


def test_the_later_rounds_are_held_out_and_users_are_not_parted() -> None:
    rounds = logged(100)
    assert np.flatnonzero(later(rounds, 0.3)).tolist() == list(range(70, 100))
    theirs = logged(400, owners=True)
    marked = later(theirs, 0.3)
    owners = theirs.log.owners
    assert owners is not None
    assert 0.05 < marked.mean() < 0.5
    assert not set(owners[marked]) & set(owners[~marked])
    with pytest.raises(InvalidRounds, match="20 are needed"):
        later(logged(19), 0.3)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("{scalar: x}", "{scalar: y}", "no column context.y; it has context.x"),
        ("placements", "reward: {low: 0, high: 0.5}\nplacements", "target not within"),
    ],
)
def test_what_does_not_fit_the_log_is_named(before: str, after: str, said: str) -> None:
    with pytest.raises((PolicySpecError, InvalidRows), match=said):
        train(logged(), spec(SPEC.replace(before, after)), NOW)


def test_a_policy_that_learns_nothing_is_not_trained() -> None:
    text = "id: split\nplacements: [home]\nexploration: {kind: fixed_split, shares: {a/b: 1}}\n"
    with pytest.raises(PolicySpecError, match="learns nothing"):
        train(logged(), spec(text), NOW)


def test_rounds_are_read_without_those_that_are_wrong(tmp_path: Path) -> None:
    rows = [f"{i % 2},{i % 3 == 0:d},0.5,{i}" for i in range(40)]
    rows[5] = "1,1,0,5"
    path = tmp_path / "log.csv"
    path.write_text("action,reward,pscore,context.x\n" + "\n".join(rows) + "\n")
    rounds = read_rounds(path)
    assert len(rounds) == 39
    assert rounds.scalars["x"].tolist() == [i for i in range(40) if i != 5]
    path.write_text("action,reward,pscore,context.city\n" + "1,1,0.5,Ulm\n" * 30)
    with pytest.raises(LearningError, match=r"context\.city has texts"):
        read_rounds(path)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_grid_is_tried_and_the_choice_is_proved(tmp_path: Path, processes: int) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("exploration.epsilon.floor: [0.0, 1.0]\nreward.low: [0.0, -1.0, 0.4]\n")
    points = read_grid(path, spec())
    assert [sets["exploration.epsilon.floor"] for sets, _ in points] == [0.0] * 3 + [1.0] * 3
    tuned, trained = tune(logged(1_200), points, NOW, processes=processes)
    assert tuned.trained_on == 840
    assert tuned.best["exploration.epsilon.floor"] == 0.0
    assert tuned.settings[0].sets == tuned.best
    # Rewards of 0 lie below a lowest one of .4: such a setting is named, and the others go on.
    failed = [one for one in tuned.settings if one.failed]
    assert {one.sets["reward.low"] for one in failed} == {0.4}
    assert tuned.settings[-2:] == failed
    assert tuned.proof.rounds == 180
    assert trained.version.trained == 840


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a grid is lists"),
        ("[1]", "a grid is lists"),
        ("learner.ridge: 1", "learner.ridge: must be a list"),
        ("learner.ridge: [-1]", "makes no specification: learner.linear_gaussian.ridge"),
        ("learner.rigde: [1]", "makes no specification: learner.linear_gaussian.rigde"),
        ("learning.ridge: [1]", "has no 'learning'"),
        ("learner.ridge: " + str(list(range(1, 1002))), "1,001 settings are more than 1,000"),
    ],
)
def test_a_grid_that_can_not_be_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(PolicySpecError) as refused:
        read_grid(path, spec())
    assert said in str(refused.value)


def test_a_trained_version_is_a_candidate_on_another_log(tmp_path: Path) -> None:
    version = train(logged(), spec(), NOW).version
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, 60)
    rows = [f"{('up', 'down')[place % 2]},1,0.5,{value}" for place, value in enumerate(x)]
    path = tmp_path / "log.csv"
    path.write_text("action,reward,pscore,context.x\n" + "\n".join(rows) + "\n")
    log = read_log(path)
    found = trained_candidate(version, path, log)
    assert found.dist is not None
    assert found.name == version.version
    up = log.actions.index("up")
    # The floor of .1 is spread over both.
    assert found.dist[x > 0.2, up].min() == pytest.approx(0.95)
    assert found.dist[x < -0.2, up].max() == pytest.approx(0.05)
    path.write_text(path.read_text() + "left,1,0.5,0.1\n")
    with pytest.raises(UnknownCandidate, match="not trained on the action 'left'"):
        trained_candidate(version, path, read_log(path))


def test_a_version_in_a_file_is_told_from_rounds_and_one_cut_short_is_refused(tmp_path: Path) -> None:
    file, rounds = tmp_path / "trained.bin", tmp_path / "log.csv"
    file.write_bytes(train(logged(), spec(), NOW).version.to_bytes())
    rounds.write_text("action,reward\n")
    assert [holds_version(one) for one in (file, rounds, tmp_path / "none")] == [True, False, False]
    assert read_version(file).policy == "from_log"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(BrokenWeights, match="damaged"):
        read_version(file)


def test_examples_in_the_documentation_hold() -> None:
    tried = doctest.testmod(published)
    assert (tried.attempted, tried.failed) == (1, 0)


def test_lists_of_a_context_are_no_numbers_to_learn_from(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = [f'{("up", "down")[place % 2]},1,0.5,{place},"[1, {place}]"' for place in range(30)]
    path.write_text("action,reward,pscore,context.x,context.rates\n" + "\n".join(rows) + "\n")
    rounds = read_rounds(path)
    assert (len(rounds), list(rounds.scalars)) == (30, ["x"])
    with pytest.raises(PolicySpecError, match=r"no column context\.rates; it has context\.x"):
        train(rounds, spec(SPEC.replace("scalar: x", "scalar: rates")), NOW)
