"""A served portfolio learns on the log, changes who is in charge by evidence, and every answer replays."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

from learning import change_repository, repository, succession, version_repository
from learning.errors import BrokenWeights
from learning.learner import Task
from learning.learner_kinds import Gaussian, Portfolio, Vw
from learning.models import Linear, LinearGaussian, model_from_bytes
from learning.optimisation_log import entry_of
from learning.rescoring import rescore
from learning.rows import Rows
from learning.spec import PolicySpec
from learning.succession import Succession
from learning.versions import PolicyVersion
from playbooks.matching import replay
from storage.engine import Database
from tests.integration.test_learning_loop import START, USERS, WINDOW, World, run, spec, training

# The first hardly moves from 0; the second learns what there is.
MEMBERS: dict[str, Any] = {
    "asleep": {"kind": "vw", "learning_rate": 1e-6},
    "awake": {"kind": "linear_gaussian"},
}


def portfolio() -> PolicySpec:
    return spec(learner={"kind": "portfolio", "members": MEMBERS})


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(succession).failed == 0


def test_who_predicts_better_takes_charge_with_a_line_in_the_log_and_answers_replay(world: World) -> None:
    with training(world.database, portfolio()) as made:
        cold = made.in_charge(START)
        version = run(world, made, 6)
    assert (cold.member, version.member) == ("asleep", "awake")
    assert isinstance(model_from_bytes(cold.model), Linear)
    assert isinstance(model_from_bytes(version.model), LinearGaussian)
    with world.database.read() as connection:
        found = change_repository.changes_before(connection, ["member_in_charge"], None, 10)
        assert version_repository.member(connection, version.version) == "awake"
    (line,) = [entry_of(fact) for fact in found]
    assert (line.thing, line.before, line.after) == ("next_category", "asleep", "awake")
    assert (line.by, line.actor) == ("learning", "machine")
    assert line.evidence["odds"] >= line.evidence["needed"] == 10
    assert "predicts better than asleep" in line.cause
    for one in (cold, version):
        ids = world.decide(one.serve(), START + 7 * WINDOW, key=one.version)
        with world.database.read() as connection:
            recorded = repository.decisions(connection, ids)
        assert len(recorded) == len(USERS)
        assert one is cold or len({decision.propensity for decision in recorded.values()}) > 1
        again = PolicyVersion.from_bytes(one.to_bytes()).serve()
        for decision in recorded.values():
            assert sum(decision.probabilities) == pytest.approx(1)
            assert decision.propensity == decision.probabilities[decision.arms.index(decision.arm)]
            assert replay(decision, again) == decision
        told = rescore(world.database, next(iter(recorded.values())))
        assert told.agrees
        assert told.policy == one.version


def test_weights_taken_back_bring_their_member_back(world: World) -> None:
    with training(world.database, portfolio()) as made:
        version, turn = made.in_charge(START), 0
        while version.member == "asleep" and turn < 6:
            version, turn = run(world, made, 1, START + turn * WINDOW), turn + 1
    restored = world.database.write(
        lambda c: version_repository.take_back(c, version.version, START + 7 * WINDOW, "ann", "odd"), rows=3
    )
    assert restored.member == "asleep"
    with world.database.read() as connection:
        newest = change_repository.changes_before(connection, ["member_in_charge"], None, 1)
    line = entry_of(newest[0])
    assert (line.before, line.after, line.by, line.cause) == ("awake", "asleep", "ann", "odd")


def _rows(n: int) -> Rows:
    rng = np.random.default_rng(1)
    matrix = rng.random((n, 2))
    return Rows(matrix, (rng.random(n) < matrix[:, 0]).astype(float), np.ones(n), np.ones(n))


def _made(*names: str) -> Portfolio:
    kinds = {"asleep": Vw(kind="vw", learning_rate=1e-6), "awake": Gaussian(kind="linear_gaussian")}
    return Portfolio(kind="portfolio", members={name: kinds[name] for name in names})


def test_no_row_is_judged_by_what_was_learnt_of_it() -> None:
    """In a first piece all members still say what the prior does, so that nothing speaks for anybody."""
    task = Task(("a", "b"), 0.0, 1.0, np.zeros(2), 0.0)
    learner = _made("asleep", "awake").start(task)
    try:
        first = learner.fold(None, _rows(500))
        second = learner.fold(first.state, _rows(500))
    finally:
        learner.close()
    assert (first.member, first.changes) == ("asleep", ())
    (change,) = second.changes
    assert 500 < change.rounds < 600
    assert second.member == "awake"


def test_a_state_of_other_members_is_refused() -> None:
    task = Task(("a", "b"), 0.0, 1.0, np.zeros(2), 0.0)
    learner, other = (_made(*names).start(task) for names in (("asleep", "awake"), ("awake", "asleep")))
    try:
        state = learner.fold(None, _rows(10)).state
        with pytest.raises(BrokenWeights, match="other members"):
            other.fold(state, _rows(10))
    finally:
        learner.close()
        other.close()


def test_evidence_goes_on_from_where_it_stood() -> None:
    rng = np.random.default_rng(3)
    expected, rewards = rng.random((400, 3)), (rng.random(400) < 0.6).astype(float)
    expected[:, 2] = 0.6
    at_once = Succession(["a", "b", "c"], 0.01)
    changes = at_once.take(expected, rewards)
    assert [one.member for one in changes] == ["c"]
    for cut in (changes[0].rounds - 1, changes[0].rounds, changes[0].rounds + 1):
        first = Succession(["a", "b", "c"], 0.01)
        told = first.take(expected[:cut], rewards[:cut])
        then = Succession(["a", "b", "c"], 0.01, first.standing)
        told += then.take(expected[cut:], rewards[cut:])
        assert [(one.member, one.rounds) for one in told] == [(one.member, one.rounds) for one in changes]
        np.testing.assert_allclose(
            np.frombuffer(then.standing.wealth), np.frombuffer(at_once.standing.wealth), rtol=1e-9
        )
    with pytest.raises(BrokenWeights, match="no evidence"):
        Succession(["b", "c"], 0.01, at_once.standing)
    with pytest.raises(BrokenWeights, match="nobody of a, b"):
        Succession(["a", "b"], 0.01, at_once.standing)


@pytest.mark.parametrize(
    ("members", "prior", "told"),
    [
        ({"one": {"kind": "vw"}}, {}, "at least 2"),
        (MEMBERS | {"again": {"kind": "portfolio", "members": MEMBERS}}, {}, "portfolio"),
        (MEMBERS | {"odds": {"kind": "logistic"}}, {"intercept": 0.5}, "leave the prior out"),
        (
            {name: {"kind": "linear_gaussian", "per": f"arm.{name}"} for name in ("brand", "category")},
            {},
            "take one",
        ),
    ],
)
def test_members_that_do_not_fit_together_are_refused(
    members: dict[str, Any], prior: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        spec(learner={"kind": "portfolio", "members": members}, prior=prior)


def test_a_portfolio_draws_from_a_posterior_if_all_members_have_one() -> None:
    drawing = {"kind": "thompson", "draws": 200, "floor": {"start": 0.1, "floor": 0.02, "half_life": 100}}
    with pytest.raises(ValueError, match="draws from a posterior"):
        spec(learner={"kind": "portfolio", "members": MEMBERS}, exploration=drawing)
    both = {"one": {"kind": "linear_gaussian"}, "other": {"kind": "logistic"}}
    assert spec(learner={"kind": "portfolio", "members": both}, exploration=drawing).learner is not None
