"""What every learner promises, and what VW's own process must survive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from learning.errors import BrokenWeights, InvalidRows, LearnerLost, LearnerRefused
from learning.learner import Learner, Task
from learning.learner_kinds import Gaussian, Portfolio, Vw
from learning.models import Linear, LinearGaussian
from learning.posterior_learners import DisjointLearner, GaussianLearner, LogisticLearner
from learning.rows import Rows
from learning.vw_format import escaped
from learning.vw_learner import Loss, VwLearner
from learning.worth_learner import WorthLearner

COLUMNS = 12
WORTH = 5
# Names as a vocabulary has them; `|`, `:`, blanks and line ends would break an example unless escaped.
NAMES = ("rate", "category=FD WRAPS/BAGS", "a|b", "a:2", "c\nd", "12", "é", *(f"n{i}" for i in range(5)))


def task(intercept: float = 0.0, weight: float = 0.0) -> Task:
    weights = np.zeros(COLUMNS)
    weights[0] = weight
    # The last two columns tell arms apart, for whom it may concern.
    return Task(NAMES, 0.0, 1.0, weights, intercept, (COLUMNS - 2, COLUMNS - 1))


def rows(n: int, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    matrix = rng.random((n, COLUMNS)) * (rng.random((n, COLUMNS)) < 0.7)
    # What a success is worth, for whom it may concern.
    matrix[:, WORTH] = 1.0
    chance = np.clip(matrix @ np.linspace(0, 0.3, COLUMNS), 0, 1)
    targets = (rng.random(n) < chance).astype(float)
    return Rows(matrix, targets, rng.uniform(0.01, 1, n), np.ones(n))


def make(kind: str, what: Task) -> Learner:
    match kind:
        case "vw":
            return VwLearner(what)
        case "vw_logistic":
            return VwLearner(what, loss="logistic")
        case "fading":
            return GaussianLearner(what, ridge=1.0, half_life=2_000)
        case "disjoint":
            return DisjointLearner(what, ridge=1.0)
        case "worth":
            return WorthLearner(what, WORTH, lambda of_chances: DisjointLearner(of_chances, ridge=1.0))
        case "logistic":
            return LogisticLearner(what, ridge=1.0)
        case "fading_logistic":
            return LogisticLearner(what, ridge=1.0, half_life=2_000)
        case "portfolio":
            members = {
                "regressor": Vw(kind="vw"),
                "ridge": Gaussian(kind="linear_gaussian"),
                "by_arm": Gaussian(kind="linear_gaussian", per="arm.category"),
            }
            return Portfolio(kind="portfolio", members=members).start(what)
        case _:
            return GaussianLearner(what, ridge=1.0)


@pytest.fixture(
    params=[
        "vw",
        "vw_logistic",
        "linear_gaussian",
        "fading",
        "disjoint",
        "worth",
        "logistic",
        "fading_logistic",
        "portfolio",
    ]
)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def learner(kind: str) -> Iterator[Learner]:
    made = make(kind, task())
    yield made
    made.close()


@pytest.fixture
def vw() -> Iterator[VwLearner]:
    made = VwLearner(task())
    yield made
    made.close()


def test_it_learns(learner: Learner) -> None:
    new = rows(3000, seed=1)
    learnt = learner.fold(None, rows(3000)).model
    mean = float(((new.targets - new.targets.mean()) ** 2).mean())
    assert float(((new.targets - learnt.predict(new.matrix)) ** 2).mean()) < 0.92 * mean


def test_equal_rows_give_equal_weights(kind: str, learner: Learner) -> None:
    other = make(kind, task())
    try:
        once, again = learner.fold(None, rows(700)), other.fold(None, rows(700))
    finally:
        other.close()
    assert once.model.to_bytes() == again.model.to_bytes()


def test_going_on_from_a_state_equals_learning_at_once(learner: Learner) -> None:
    whole = rows(1300)
    at_once = learner.fold(None, whole).model
    first = learner.fold(None, whole.part(slice(0, 800)))
    then = learner.fold(first.state, whole.part(slice(800, None))).model
    matrix = rows(100, seed=2).matrix
    np.testing.assert_allclose(then.predict(matrix), at_once.predict(matrix), rtol=0, atol=1e-9)


def test_one_arm_without_a_reward_and_a_column_that_was_never_seen_leave_good_scores(
    learner: Learner,
) -> None:
    """Nothing but zeros of one arm: its score falls; all scores, and how unsure they are, are finite."""
    some, silent = rows(600), 3
    same = np.tile(some.matrix[:1], (600, 1))
    same[:, silent] = 0.0
    one = replace(some, matrix=same, targets=np.zeros(600))
    learnt = learner.fold(learner.fold(None, one).state, one).model
    asked = np.vstack([one.matrix[:1], one.matrix[:1]])
    asked[1, silent] = 1e6
    assert np.isfinite(learnt.predict(asked)).all()
    assert learnt.predict(one.matrix[:1])[0] < 0.05
    deviations = learnt.deviation(asked)
    assert deviations is None or np.isfinite(deviations).all()


def test_no_rows_leave_the_prior(kind: str) -> None:
    learner = make(kind, task(intercept=0.125, weight=0.25))
    try:
        model = learner.fold(None, rows(1).part(slice(0, 0))).model
    finally:
        learner.close()
    explained = model.explain(np.ones(COLUMNS))
    assert explained[""] == 0.125
    assert explained["rate"] == pytest.approx(0.25)
    assert explained["12"] == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e13])
def test_features_that_would_poison_it_are_refused(learner: Learner, value: float) -> None:
    poisoned = rows(10)
    poisoned.matrix[3, 2] = value
    with pytest.raises(InvalidRows, match="features"):
        learner.fold(None, poisoned)
    learner.fold(None, rows(10))


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
def test_targets_outside_the_bounds_are_refused(learner: Learner, value: float) -> None:
    poisoned = rows(10)
    poisoned.targets[3] = value
    with pytest.raises(InvalidRows, match="target"):
        learner.fold(None, poisoned)


@pytest.mark.parametrize("value", [np.nan, 0.0, -0.5, 1.5])
def test_propensities_that_can_not_be_are_refused(learner: Learner, value: float) -> None:
    poisoned = rows(10)
    poisoned.propensities[3] = value
    with pytest.raises(InvalidRows, match="propensity"):
        learner.fold(None, poisoned)


def test_uneven_rows_are_refused(learner: Learner) -> None:
    whole = rows(10)
    with pytest.raises(InvalidRows):
        learner.fold(None, Rows(whole.matrix, whole.targets[:5], whole.propensities, whole.importance))
    with pytest.raises(InvalidRows):
        learner.fold(None, Rows(whole.matrix[:, :5], whole.targets, whole.propensities, whole.importance))


def test_a_damaged_state_is_an_error_and_not_the_end(learner: Learner) -> None:
    with pytest.raises((BrokenWeights, LearnerRefused)):
        learner.fold(b"rubbish", rows(10))
    learner.fold(None, rows(10))


def test_logistic_learning_fades_too() -> None:
    learner = LogisticLearner(task(), ridge=1.0, half_life=500)
    old = rows(3_000)
    turned = Rows(old.matrix, 1 - old.targets, old.propensities, old.importance)
    after = learner.fold(learner.fold(None, old).state, turned).model
    fresh = learner.fold(None, turned).model
    kept = LogisticLearner(task(), ridge=1.0)
    both = kept.fold(kept.fold(None, old).state, turned).model
    assert np.abs(after.predict(old.matrix) - fresh.predict(old.matrix)).max() < 0.1
    assert np.abs(both.predict(old.matrix) - fresh.predict(old.matrix)).max() > 0.2


EXACT = ("linear_gaussian", "disjoint", "worth")


def test_shards_merge_on_top_of_what_was_known_or_are_refused(kind: str, learner: Learner) -> None:
    """To the model of all rows, or to one that predicts as well on rows that nobody learnt from."""
    known, whole = learner.fold(None, rows(500, seed=4)).state, rows(6_000)
    shards = [learner.fold(known, whole.part(slice(at, at + 3_000))).state for at in (0, 3_000)]
    if kind in ("fading", "fading_logistic", "portfolio"):
        with pytest.raises(LearnerRefused, match="half-life" if "fading" in kind else "reward by reward"):
            learner.merge(known, shards)
        return
    merged, at_once = learner.merge(known, shards), learner.fold(known, whole)
    new = rows(6_000, seed=1)
    one, other = merged.model.predict(new.matrix), at_once.model.predict(new.matrix)
    if kind in EXACT:
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
    losses = [(told - new.targets) ** 2 for told in (one, other)]
    error = float(losses[1].std()) / np.sqrt(len(new))
    assert float(losses[0].mean()) < float(losses[1].mean()) + error
    # It is gone on from like any other.
    assert np.isfinite(learner.fold(merged.state, rows(50)).model.predict(new.matrix)).all()
    with pytest.raises(BrokenWeights, match="no shard"):
        learner.merge(known, [])
    with pytest.raises((BrokenWeights, LearnerRefused)):
        learner.merge(known, [shards[0], b"cut short"])


def test_what_fades_is_forgotten_by_half_and_the_prior_is_not() -> None:
    prior = task(intercept=0.25)
    learner = GaussianLearner(prior, ridge=1.0, half_life=1_000)
    old = rows(4_000)
    turned = Rows(old.matrix, 1 - old.targets, old.propensities, old.importance)
    state = learner.fold(learner.fold(None, old).state, turned).state
    fresh = learner.fold(None, turned).model
    faded = LinearGaussian.from_bytes(state)
    # Four half-lives later the old rows weigh a sixteenth of the new ones.
    assert faded.count == pytest.approx(sum(0.5 ** (age / 1_000) for age in range(8_000)))
    np.testing.assert_allclose(faded.predict(old.matrix), fresh.predict(old.matrix), atol=0.1)
    kept = GaussianLearner(prior, ridge=1.0)
    both = kept.fold(kept.fold(None, old).state, turned).model
    assert np.abs(both.predict(old.matrix) - fresh.predict(old.matrix)).max() > 0.2
    nothing = Rows(np.zeros((100_000, COLUMNS)), np.full(100_000, 0.75), np.ones(100_000), np.ones(100_000))
    after = learner.fold(state, nothing).model.explain(np.ones(COLUMNS))
    assert after["rate"] == pytest.approx(0.0, abs=1e-6)
    assert after[""] == pytest.approx(0.75, abs=0.01)


ASK_VW = """
import sys, numpy as np, vowpal_wabbit_next as vw
from learning.vw_format import lines
data = np.load(sys.argv[1])
workspace = vw.Workspace(["--quiet"], model_data=data["state"].tobytes())
parser = vw.TextFormatParser(workspace)
names = [str(name) for name in data["names"]]
matrix = data["matrix"]
texts = [text.split(" ", 2)[2] for text in lines(names, matrix, np.zeros(len(matrix)), np.ones(len(matrix)))]
np.save(sys.argv[2], [workspace.predict_one(parser.parse_line(text)) for text in texts])
"""


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_our_scores_equal_the_predictions_of_vw(loss: Loss, tmp_path: Path) -> None:
    learner = VwLearner(task(intercept=0.1, weight=0.2), loss=loss)
    try:
        learnt = learner.fold(learner.fold(None, rows(2000)).state, rows(2000, seed=3))
    finally:
        learner.close()
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(1000, COLUMNS)) * rng.choice([0.0, 0.1, 1.0, 3.0], size=(1000, 1))
    np.savez(
        tmp_path / "ask.npz",
        state=np.frombuffer(learnt.state, dtype=np.uint8),
        names=[escaped(name) for name in NAMES],
        matrix=matrix,
    )
    answers = tmp_path / "answers.npy"
    subprocess.run([sys.executable, "-c", ASK_VW, str(tmp_path / "ask.npz"), str(answers)], check=True)
    predictions = np.load(answers)
    assert predictions.std() > 0.1
    np.testing.assert_allclose(learnt.model.predict(matrix), predictions, rtol=0, atol=1e-6)


def test_vw_is_never_loaded_into_the_process_that_serves(vw: VwLearner) -> None:
    vw.fold(None, rows(10))
    script = "import learning.training, learning.rounds, sys; sys.exit('vowpal_wabbit_next' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert "vowpal_wabbit_next" not in sys.modules


def test_a_process_killed_in_the_middle_of_training_loses_nothing(vw: VwLearner) -> None:
    many = rows(100_000)
    undisturbed = vw.fold(None, many).model.to_bytes()
    killed: list[int] = []

    pid = vw.pid
    assert pid is not None
    process = psutil.Process(pid)
    before = process.cpu_times().user

    def kill() -> None:
        # Once it is at work: what it does takes half a second of its processor.
        while process.cpu_times().user < before + 0.1:
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    disturbed = vw.fold(None, many).model.to_bytes()
    killer.join()
    # A new process answered, so the old one had died before it could.
    assert killed
    assert vw.pid is not None
    assert vw.pid not in killed
    assert disturbed == undisturbed


def test_a_process_that_died_between_folds_is_replaced(vw: VwLearner) -> None:
    first = vw.fold(None, rows(100))
    pid = vw.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    vw.fold(first.state, rows(100, seed=1))
    assert vw.pid != pid


def test_a_process_that_stands_still_is_given_up() -> None:
    impatient = VwLearner(task(), patience=0.0)
    with pytest.raises(LearnerLost):
        impatient.fold(None, rows(10))
    assert impatient.pid is None
    impatient.close()


def test_a_closed_learner_leaves_no_process_behind(vw: VwLearner) -> None:
    vw.fold(None, rows(10))
    pid = vw.pid
    assert pid is not None
    vw.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    vw.fold(None, rows(10))


def test_columns_that_fall_on_one_weight_are_refused() -> None:
    names = tuple(f"n{i}" for i in range(200))
    crowded = VwLearner(Task(names, 0.0, 1.0, np.zeros(200), 0.0), bits=10)
    with pytest.raises(LearnerRefused, match="give it more bits"):
        crowded.fold(None, Rows(np.zeros((1, 200)), np.zeros(1), np.ones(1), np.ones(1)))
    crowded.close()


def test_the_logistic_loss_refuses_what_lies_between_its_two_rewards() -> None:
    learner = VwLearner(task(), loss="logistic")
    between = rows(10)
    between.targets[2] = 0.5
    with pytest.raises(InvalidRows, match="squared loss"):
        learner.fold(None, between)
    learner.close()


def test_names_that_break_examples_are_learnt_as_columns_of_their_own(vw: VwLearner) -> None:
    matrix = np.tile(np.eye(COLUMNS), (60, 1))
    targets = np.tile(np.linspace(0, 1, COLUMNS), 60)
    n = len(targets)
    model = vw.fold(None, Rows(matrix, targets, np.ones(n), np.ones(n))).model
    assert isinstance(model, Linear)
    np.testing.assert_allclose(model.predict(np.eye(COLUMNS)), np.linspace(0, 1, COLUMNS), atol=0.05)


POISONED = """
import sys, numpy as np, vowpal_wabbit_next as vw
from learning.learner import Task
from learning.rows import Rows
from learning.vw_learner import VwLearner
workspace = vw.Workspace(["--cb_explore_adf", "--quiet"])
parser = vw.TextFormatParser(workspace)
twice = parser.parse_line("0:1:0.5 | a")
failed = []
for event in ([twice, twice], [twice]):
    try:
        workspace.predict_one(event)
    except RuntimeError as error:
        failed.append(str(error))
# The defect is there: the second event is a proper one, and fails because of the first.
assert len(failed) == 2 and "already been setup" in failed[0], failed
same = np.tile(np.linspace(0, 1, 3), (50, 1))
rows = Rows(same, np.tile([0.0, 1.0], 25), np.ones(50), np.ones(50))
learner = VwLearner(Task(("a", "b", "c"), 0.0, 1.0, np.zeros(3), 0.0))
first, second = (learner.fold(None, rows).model for _ in range(2))
learner.close()
assert np.array_equal(first.weights, second.weights) and np.abs(first.weights).sum() > 0
print("learnt")
"""


def test_the_pool_defect_of_vw_harms_no_fold() -> None:
    """One event that holds an `Example` twice poisons a process: whatever follows there fails.

    No row is handed over twice, however alike rows are, and VW learns in a process of its own.
    """
    found = subprocess.run(
        [sys.executable, "-c", POISONED],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert found.stdout.strip() == "learnt", found.stderr


def test_where_worth_is_known_chances_are_learnt_for_themselves() -> None:
    rng = np.random.default_rng(8)
    names = ("a", "b", "worth")

    def drawn(n: int) -> tuple[Rows, NDArray[np.float64]]:
        matrix = np.column_stack([rng.random((n, 2)), rng.uniform(-2, 20, n)])
        chance = 0.1 + 0.3 * matrix[:, 0]
        targets = (rng.random(n) < chance) * matrix[:, 2] * rng.uniform(0.8, 1.2, n)
        return Rows(matrix, targets, np.ones(n), np.ones(n)), chance * matrix[:, 2]

    what = Task(names, -30.0, 30.0, np.zeros(3), 0.0)
    some, _ = drawn(3_000)
    others, expected = drawn(2_000)

    def error(learner: Learner) -> float:
        return float(((learner.fold(None, some).model.predict(others.matrix) - expected) ** 2).mean())

    plain = error(GaussianLearner(what, ridge=1.0))
    assert error(WorthLearner(what, 2, lambda task: GaussianLearner(task, ridge=1.0))) < 0.5 * plain
