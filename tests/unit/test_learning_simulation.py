"""Races on full-feedback tables: what is read, what is refused, and that nothing is known beforehand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from learning.errors import LearningError, UnknownPlayer, UnreadableLog, UnreadableTable
from learning.evaluation import read_log
from learning.evidence import Evidence, needed
from learning.models import DisjointGaussian
from learning.simulation import Race, Table, check_policies, read_table, run
from learning.simulation.basis import Basis, Part, Scaling
from learning.simulation.log import log_file, write_log
from learning.simulation.player import FloatArray, Setting, best
from learning.simulation.policies import POLICIES
from learning.simulation.portfolio import Portfolio
from learning.simulation.posteriors import Posteriors
from learning.simulation.race import Rounds, play
from learning.simulation.table import of_arrays
from learning.simulation.vw_explorers import EXPLORERS


def made_up(n: int = 300, arms: int = 3, seed: int = 0) -> Table:
    """A table in which the right arm follows from the context."""
    rng = np.random.default_rng(seed)
    context = rng.normal(size=(n, 4)) * [1.0, 10.0, 0.1, 0.0] + [0.0, 5.0, 0.0, 3.0]
    right = (context[:, :3] / [1.0, 10.0, 0.1]).argmax(axis=1) % arms
    return of_arrays("made up", tuple(f"a{i}" for i in range(arms)), context, np.eye(arms)[right])


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(text)
    return path


def test_a_table_is_read_with_texts_as_columns(tmp_path: Path) -> None:
    table = read_table(
        written(
            tmp_path, "context.x,context.city,reward.tea,reward.milk\n1,Ulm,0,2\n2.5,Bonn,1,0\n3,Ulm,0,1\n"
        )
    )
    assert table.arms == ("tea", "milk")
    assert table.context.tolist() == [[1, 1], [2.5, 0], [3, 1]]
    assert table.rewards.tolist() == [[0, 2], [1, 0], [0, 1]]
    assert (table.low, table.high) == (0.0, 2.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("context.x,reward.a,reward.b\n", "has no rounds"),
        ("context.x,y\n1,2\n", "'y'; what is known of a round is context"),
        ("context.x,rewards.a,reward.b\n1,2,3\n", 'did you mean "reward"'),
        ("context.x\n1\n", "no column reward.<arm>"),
        ("context.x,reward.a\n1,0\n2,1\n", "one arm only, 'a'"),
        ("context.x,reward.a,reward.b\n1,0,0\n2,0,0\n", "every arm earns 0 in every round"),
        ("context.x,reward.a,reward.b\n1,0,0\n2,1,1\n", "all arms earn the same"),
        ("context.x,reward.a,reward.b\n1,0,nan\n2,1,0\n", "row 1, reward.b: 'nan' is not a finite number"),
        ("context.x,reward.a,reward.b\n1,0,1\n2,inf,0\n", "row 2, reward.a: 'inf' is not a finite number"),
        ("context.x,reward.a,reward.b\n1,0,1\n,1,0\n", "row 2, context.x: there is no value"),
        ("context.,reward.a,reward.b\n1,0,1\n2,1,0\n", "without a name"),
    ],
)
def test_a_table_that_nothing_can_be_learnt_from_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(LearningError) as refused:
        read_table(written(tmp_path, text))
    assert said in str(refused.value)
    assert refused.value.status == 422


def test_too_many_arms_are_refused() -> None:
    with pytest.raises(UnreadableTable, match="257 arms"):
        of_arrays("wide", tuple(map(str, range(257))), np.zeros((2, 1)), np.eye(2, 257))


def test_policies_are_named_with_what_was_meant() -> None:
    assert check_policies([]) == list(POLICIES)
    assert check_policies(["uniform", "portfolio"]) == ["portfolio", "uniform"]
    with pytest.raises(UnknownPlayer, match='did you mean "portfolio"'):
        check_policies(["portfolo"])


def check(table: Table, rounds: Rounds, floor: float) -> None:
    np.testing.assert_allclose(rounds.vectors.sum(axis=1), 1.0, atol=1e-12)
    assert rounds.vectors.min() >= floor / len(table.arms) - 1e-12
    assert sorted(rounds.order.tolist()) == list(range(len(table)))
    np.testing.assert_array_equal(rounds.rewards, table.rewards[rounds.order, rounds.actions])


@pytest.mark.parametrize("name", [name for name in POLICIES if name not in EXPLORERS])
def test_every_policy_plays_with_proper_vectors_and_the_floor(name: str) -> None:
    table = made_up(40)
    rounds = play(table, name, POLICIES[name], Race(floor=0.06), 0)
    check(table, rounds, 0.06)
    again = play(table, name, POLICIES[name], Race(floor=0.06), 0)
    np.testing.assert_array_equal(again.vectors, rounds.vectors)
    # All policies see one order, and another shuffle is another one.
    other = play(table, "uniform", POLICIES["uniform"], Race(floor=0.06), 1)
    assert other.order.tolist() != rounds.order.tolist()


def test_explorers_of_vw_play_in_processes_of_their_own() -> None:
    table = made_up(150, arms=2)
    played: list[Rounds] = []
    said: list[str] = []
    race = Race([*EXPLORERS, "uniform"], shuffles=1, floor=0.06, processes=1)
    found = run(table, race, played.append, said.append)
    assert "vowpal_wabbit_next" not in sys.modules
    for rounds in played:
        check(table, rounds, 0.06)
    assert list(found) == [*EXPLORERS, "uniform"]
    assert len(said) == 7
    assert all(one.se is None for one in found.values())
    assert all(found[name].mean > found["uniform"].mean for name in EXPLORERS)


def test_no_policy_is_told_more_than_what_its_arm_earned() -> None:
    """What the other arms would have earned, and later rounds, can change nothing of what was done before."""
    table = made_up(80)
    whole = play(table, "portfolio", POLICIES["portfolio"], Race(), 0)
    unseen = np.full_like(table.rewards, 0.5)
    chosen = (whole.order, whole.actions)
    unseen[chosen] = table.rewards[chosen]
    unseen[whole.order[60:]] = 0.0
    table_without = Table(table.name, table.arms, table.context, unseen, table.low, table.high)
    again = play(table_without, "portfolio", POLICIES["portfolio"], Race(), 0)
    np.testing.assert_array_equal(again.vectors[:61], whole.vectors[:61])
    # What is told does matter.
    early = (whole.order[:20], whole.actions[:20])
    unseen[early] = 1.0 - unseen[early]
    told = Table(table.name, table.arms, table.context, unseen, table.low, table.high)
    other = play(told, "portfolio", POLICIES["portfolio"], Race(), 0)
    assert not np.array_equal(other.vectors, whole.vectors)


def test_models_learn_where_there_is_something_to_learn() -> None:
    table = made_up(200)
    earned = {
        name: play(table, name, POLICIES[name], Race(), 0).rewards.mean()
        for name in ("portfolio", "linear", "logistic", "average", "uniform")
    }
    assert min(earned[name] for name in ("portfolio", "linear", "logistic")) > 0.65
    assert max(earned["average"], earned["uniform"]) < 0.5


def test_posteriors_are_those_of_the_value_model_by_arm() -> None:
    rng = np.random.default_rng(1)
    features, actions, rewards = rng.normal(size=(60, 5)), rng.integers(0, 3, 60), rng.random(60)
    names = ("m0", "m1", "m2", *(f"x{i}" for i in range(5)))
    prior = DisjointGaussian.prior(names, (0, 1, 2), low=-9.0, high=9.0, ridge=0.09)
    # The intercept of the model is held at 0 by a column of its own: compare without one.
    ours = Posteriors(3, 6, 0.3)
    rows = np.hstack([features, np.ones((60, 1))])
    ours.learn_all(rows[:40], actions[:40], rewards[:40])
    for row, action, reward in zip(rows[40:], actions[40:], rewards[40:], strict=True):
        ours.learn(row, int(action), float(reward))
    model = prior.learn(np.hstack([np.eye(3)[actions], features]), rewards)
    asked = rng.normal(size=5)
    matrix = np.hstack([np.eye(3), np.tile(asked, (3, 1))])
    np.testing.assert_allclose(ours.means(np.append(asked, 1.0)), model.predict(matrix), atol=1e-8)
    noises = np.array([part.noise for part in model.parts[:3]])
    np.testing.assert_allclose(
        ours.deviations(np.append(asked, 1.0)), 0.3 * model.deviation(matrix) / np.sqrt(noises), atol=1e-8
    )


def test_scaling_leaves_out_what_does_not_vary_and_cuts_what_is_far() -> None:
    scaling = Scaling.of(np.array([[0.0, 7.0], [2.0, 7.0]]), "each")
    assert scaling.apply(np.array([[2.0, 9.0], [1e9, -1e300]])).tolist() == [[1.0, 0.0], [4.0, 0.0]]
    assert scaling.varying == 1
    common = Scaling.of(np.array([[0.0, 0.0], [2.0, 200.0]]), "common")
    assert common.unit[1] / common.unit[0] == pytest.approx(10.0)


def test_fourier_features_approximate_the_gaussian_kernel() -> None:
    rng = np.random.default_rng(3)
    contexts = rng.normal(size=(50, 3))
    scaling = Scaling.of(contexts, "each")
    part = Part("each", 0.7 * rng.normal(size=(3, 20_000)), 1.0)
    features = Basis.of(contexts, [part], 0.0).features(contexts)
    scaled = scaling.apply(contexts) / np.sqrt(3)
    distances = ((scaled[:, None] - scaled[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(features @ features.T, np.exp(-0.49 * distances / 2), atol=0.03)


class Fixed:
    """A member that always expects the same."""

    def __init__(self, *expected: float) -> None:
        self._expected = np.array(expected)

    def expect(self, context: FloatArray) -> FloatArray:
        return self._expected

    def unsure(self, context: FloatArray) -> FloatArray:
        return np.zeros(len(self._expected))

    def learn(self, context: FloatArray, action: int, reward: float) -> None:
        pass


def test_who_predicts_better_comes_to_be_in_charge() -> None:
    setting = Setting(2, 1, 0.0, 10.0, 0)
    portfolio = Portfolio(setting, {"wrong": Fixed(0.9, 0.1), "right": Fixed(0.2, 0.7)})
    rng = np.random.default_rng(4)
    context = np.zeros(1)
    assert best(np.array([0.9, 0.1])).tolist() == portfolio.vector(context).tolist()
    for _ in range(60):
        vector = portfolio.vector(context)
        action = int(vector.argmax())
        portfolio.learn(context, action, 10.0 * (rng.random() < [0.2, 0.7][action]), vector)
    assert [who for _, who in portfolio.changes] == ["right"]
    assert 3 < portfolio.changes[0][0] < 40


def test_equal_members_hardly_ever_change_place() -> None:
    """Of two that predict equally well a change has at most the chance that was allowed."""
    rng = np.random.default_rng(5)
    changed = 0
    for _ in range(300):
        evidence = Evidence(1)
        # One says .3, the other .7, of a coin: each is as wrong as the other on average.
        heads = rng.random(200) < 0.5
        highest = 0.0
        for head in heads.tolist():
            evidence.add(0.3, [0.7], float(head))
            highest = max(highest, float(evidence.odds[0]))
        changed += highest >= needed(1, 0.1)
    # At most 30 on average; 46 is three deviations more.
    assert changed <= 46
    assert changed > 0


def test_a_million_columns_are_refused_before_they_are_held(tmp_path: Path) -> None:
    names = ",".join(f"context.c{i}" for i in range(1_000_000))
    path = written(tmp_path, f"{names},reward.a,reward.b\n" + ",".join(["0"] * 1_000_002) + "\n")
    with pytest.raises(UnreadableTable, match="1,000,002 columns"):
        read_table(path)


def test_logs_are_read_by_evaluations(tmp_path: Path) -> None:
    table = made_up(50)
    shuffles = [play(table, "linear", POLICIES["linear"], Race(floor=0.3), shuffle) for shuffle in range(2)]
    for name in ("log.csv", "log.csv.gz", "log.parquet"):
        path = log_file(tmp_path / name, "linear", several=False)
        write_log(path, table, shuffles)
        log = read_log(path)
        assert len(log) == 100
        assert log.rewards.tolist() == [*shuffles[0].rewards, *shuffles[1].rewards]
        assert log.logged_dist is not None
        np.testing.assert_allclose(log.at_actions(log.logged_dist), log.propensities)
        assert log.context is not None
        np.testing.assert_allclose(log.context[:50], table.context[shuffles[0].order])
        assert not log.refused
    assert log_file(tmp_path / "x.csv", "linear", several=True) == tmp_path / "x.linear.csv"
    with pytest.raises(UnreadableLog, match="is there already"):
        log_file(tmp_path / "log.csv", "linear", several=False)
    with pytest.raises(UnreadableLog, match="must end in"):
        log_file(tmp_path / "log.txt", "linear", several=False)
