"""Evaluations of made-up logs whose truth is known: intervals, diagnostics, verdicts."""

from __future__ import annotations

import doctest
import json
import math
from dataclasses import replace
from importlib import import_module

import msgspec
import numpy as np
import pytest

from learning.errors import InvalidRounds, UnknownCandidate, UnknownEstimator
from learning.evaluation import Candidate, How, Log, candidate, evaluate, logged
from learning.evaluation.estimators import ESTIMATORS
from learning.evaluation.evaluate import Evaluation
from learning.evaluation.intervals import CLOSED, INTERVALS
from learning.evaluation.intervals.bootstrap import percentiles, resampled
from learning.evaluation.intervals.likelihood import shaped
from learning.evaluation.intervals.sequence import LOG_SHARES, STAKES, mixed_log_wealth, threshold
from learning.evaluation.logs import distributions
from learning.evaluation.plots import figures
from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.units import Shape, shape
from learning.evaluation.wealth import equation

Rng = np.random.Generator


def made(
    rng: Rng, n: int, *, better: float = 0.4, users: int | None = None, spread: float = 0.0
) -> tuple[Log, Candidate, float]:
    """Two arms drawn with propensity 1/2, worth .2 and `better`; the candidate takes the second in 90 %."""
    action = rng.integers(0, 2, n)
    owner = np.arange(n) % users if users else None
    chance = 0.2 + (better - 0.2) * action
    if owner is not None and users is not None:
        # Users differ for good; their mean does not.
        chance = np.clip(chance + rng.choice([-spread, spread], users)[owner], 0, 1)
    rewards = (rng.random(n) < chance).astype(np.float64)
    dist = np.tile([0.1, 0.9], (n, 1))
    log = Log(("a", "b"), action, rewards, np.full(n, 0.5), owners=owner)
    return log, Candidate("mostly b", log.at_actions(dist), dist), 0.1 * 0.2 + 0.9 * better


def heavy(rng: Rng, n: int, rare: float) -> tuple[Weighed, float]:
    """Ten actions worth .1; the log favours one with 1 - rare · 9, the candidate another with .91."""
    action = rng.choice(10, n, p=[1 - 9 * rare, *[rare] * 9])
    logged = np.where(action == 0, 1 - 9 * rare, rare)
    weights = np.where(action == 1, 0.91, 0.01) / logged
    rewards = (rng.random(n) < 0.1).astype(np.float64)
    return Weighed(rewards, weights, largest=0.91 / rare), 0.1


def test_examples_in_the_documentation_hold() -> None:
    for name in ("intervals.likelihood", "verdict", "evaluate", "plots"):
        tried = doctest.testmod(import_module(f"learning.evaluation.{name}"))
        assert tried.attempted >= 1
        assert tried.failed == 0


@pytest.mark.parametrize(("n", "rare"), [(300, 0.05), (1000, 0.01)])
def test_the_picked_interval_covers_where_few_rounds_carry_the_weight(n: int, rare: float) -> None:
    rng = np.random.default_rng(11)
    covered, normal = 0, 0
    trials = 400
    for _ in range(trials):
        rounds, truth = heavy(rng, n, rare)
        terms = ESTIMATORS["snips"].terms(rounds)
        low, high = CLOSED["likelihood"](terms, rounds, 0.95) or (0.0, 1.0)
        covered += low <= truth <= high
        low, high = CLOSED["normal"](terms, rounds, 0.95) or (0.0, 1.0)
        normal += low <= truth <= high
    assert covered / trials >= 0.93
    assert normal / trials < 0.85


@pytest.mark.parametrize("method", sorted(set(INTERVALS) - {"bootstrap"}))
def test_every_interval_covers_on_a_quiet_log_and_holds_its_value(method: str) -> None:
    rng = np.random.default_rng(12)
    covered, trials = 0, 120
    for _ in range(trials):
        log, one, truth = made(rng, 400)
        rounds = Weighed(log.rewards, one.chosen / log.propensities, largest=1.8)
        terms = ESTIMATORS["ips"].terms(rounds)
        found = CLOSED[method](terms, rounds, 0.9)
        assert found is not None
        low, high = found
        assert low <= terms.value <= high
        covered += low <= truth <= high
    assert covered / trials >= 0.84


def test_intervals_cover_though_a_user_decides_many_times() -> None:
    rng = np.random.default_rng(5)
    covered, naive, trials = 0, 0, 200
    for _ in range(trials):
        log, one, truth = made(rng, 1500, users=75, spread=0.2)
        low, high = evaluate(log, one, how=How(["snips"])).estimates["snips"].interval or (0, 0)
        covered += float(low or 0) <= truth <= float(high or 0)
        alone = replace(log, owners=None)
        low, high = evaluate(alone, one, how=How(["snips"])).estimates["snips"].interval or (0, 0)
        naive += float(low or 0) <= truth <= float(high or 0)
    assert covered / trials >= 0.92
    # Taking rounds as independent promises far too much: that is why users are.
    assert naive / trials < 0.85


def orders(rng: Rng) -> tuple[Log, Candidate, float]:
    """200 users come four times; one in five orders, for amounts of which few are large. Arms are alike."""
    users, times, arms = 200, 4, 5
    owners = np.repeat(np.arange(users), times)
    liking = np.exp(0.6 * rng.normal(size=users) - 0.18)[owners]
    n = len(owners)
    amounts = np.minimum(20 * np.exp(0.8 * rng.normal(size=n) - 0.32), 200.0)
    rewards = (rng.random(n) < np.minimum(0.2 * liking, 1.0)) * amounts
    action = np.where(rng.random(n) < 0.6, rng.integers(0, arms, n), 0)
    propensities = np.where(action == 0, 0.52, 0.12)
    dist = np.tile([0.08, 0.68, 0.08, 0.08, 0.08], (n, 1))
    log = Log(tuple("abcde"), action, rewards, propensities, owners=owners, low=-30.0, high=200.0)
    # Of 0.2 * 20 the cuts take a little.
    return log, Candidate("mostly b", log.at_actions(dist), dist), 3.98


def test_intervals_of_amounts_know_of_the_large_ones_that_did_not_come() -> None:
    rng = np.random.default_rng(17)
    trials = 400
    below, above, lifts, plain = 0, 0, 0, 0
    for _ in range(trials):
        log, one, value = orders(rng)
        found = evaluate(log, one, how=How(["snips"], ["normal"]))
        low, high = found.candidate_value.interval
        below, above = below + (value < (low or 0)), above + (value > (high or 0))
        low, high = found.difference.interval
        lifts += float(low or 0) <= 0.0 <= float(high or 0)
        _, high = found.estimates["snips"].intervals["normal"] or (0, 0)
        plain += value > (high or 0)
    assert (below + above) / trials <= 0.075
    assert above / trials <= 0.06
    assert lifts / trials >= 0.92
    # Who forgets the large orders that did not come misses above, and hardly ever below.
    assert plain / trials > 0.06


def test_the_interval_of_a_shape_follows_it() -> None:
    bounds = (-30.0, 100.0)
    low, high = shaped(2.0, Shape(0.5, 0.0, math.inf), bounds, 0.95)
    assert high - 2.0 == pytest.approx(2.0 - low, rel=1e-6)
    skewed_low, skewed_high = shaped(2.0, Shape(0.5, 0.4, math.inf), bounds, 0.95)
    assert low < skewed_low < 2.0 < high < skewed_high
    # The other way round is the mirror image.
    other_low, other_high = shaped(-2.0, Shape(0.5, -0.4, math.inf), (-100.0, 30.0), 0.95)
    assert (-other_high, -other_low) == pytest.approx((skewed_low, skewed_high), rel=1e-6)
    few_low, few_high = shaped(2.0, Shape(0.5, 0.4, 10.0), bounds, 0.95)
    assert few_low < skewed_low < skewed_high < few_high
    assert shaped(2.0, Shape(0.0, 0.0, math.inf), bounds, 0.95) == (2.0, 2.0)
    assert shaped(2.0, Shape(math.inf, 0.0, math.inf), bounds, 0.95) == bounds


def test_the_degrees_of_an_error_are_those_of_normal_sums_or_of_the_few_that_carry_it() -> None:
    rng = np.random.default_rng(4)
    normal = rng.normal(size=4000)
    rounds = Weighed(np.full(4000, 0.5), np.ones(4000))
    assert shape(rounds, normal - normal.mean()).degrees == pytest.approx(4000, rel=0.15)
    few = np.where(np.arange(4000) < 8, 100.0, 0.0)
    found = shape(rounds, few - few.mean())
    assert found.degrees == pytest.approx(16, rel=0.01)
    assert found.skewness == pytest.approx(8**-0.5, rel=0.01)
    # All of one size: the error is as certain as can be.
    assert shape(rounds, np.resize([1.0, -1.0], 4000)).degrees > 1e9


def test_a_bootstrap_resamples_users_and_agrees_with_the_normal_interval() -> None:
    log, one, _ = made(np.random.default_rng(6), 4000, users=800, spread=0.1)
    rounds = Weighed(log.rewards, one.chosen / log.propensities, owners=log.owners)
    several = [ESTIMATORS[name].terms(rounds) for name in ("ips", "snips")]
    for terms, (low, high) in zip(
        several, percentiles(resampled(several, rounds, 2000, 1), 0.95), strict=True
    ):
        normal_low, normal_high = CLOSED["normal"](terms, rounds, 0.95) or (0.0, 0.0)
        width = normal_high - normal_low
        assert low == pytest.approx(normal_low, abs=0.1 * width)
        assert high == pytest.approx(normal_high, abs=0.1 * width)


def test_the_confidence_sequence_holds_at_all_times_at_once() -> None:
    rng = np.random.default_rng(13)
    missed, trials = 0, 500
    for _ in range(trials):
        rounds, truth = heavy(rng, 1000, 0.05)
        eq = equation(ESTIMATORS["snips"].terms(rounds), rounds)
        assert eq is not None
        for up in (True, False):
            # What gamblers own after each round if the truth is what they bet against.
            owned = np.log1p(np.multiply.outer(STAKES, eq.stakes(truth, up=up))).cumsum(axis=1)
            missed += bool(np.logaddexp.reduce(owned + LOG_SHARES[:, None]).max() >= threshold(0.95, up=up))
    assert missed / trials <= 0.05


def test_a_confidence_sequence_shrinks_and_ends_where_the_wealth_is_reached() -> None:
    rounds, _ = heavy(np.random.default_rng(19), 4000, 0.05)
    terms = ESTIMATORS["snips"].terms(rounds)
    low, high = CLOSED["confidence_sequence"](terms, rounds, 0.95) or (0.0, 1.0)
    eq = equation(terms, rounds)
    assert eq is not None
    for bound, up in ((low, True), (high, False)):
        wealth = mixed_log_wealth(eq.stakes(bound, up=up), eq.counts)
        assert wealth == pytest.approx(threshold(0.95, up=up), abs=0.01)
    likely = CLOSED["likelihood"](terms, rounds, 0.95) or (0.0, 1.0)
    assert low < likely[0] < likely[1] < high < 2.2 * likely[1]


def test_diagnostics_of_a_sound_log() -> None:
    log, one, _ = made(np.random.default_rng(7), 2000, users=500)
    found = evaluate(log, one).diagnostics
    assert (found.rounds, found.users) == (2000, 500)
    assert found.largest_weight == pytest.approx(1.8)
    assert found.mean_weight.ok
    assert found.effective_sample_size == pytest.approx(2000 / (0.5 * (1.8**2 + 0.2**2)), rel=0.05)
    assert [one.action for one in found.overlap] == ["a", "b"]
    assert found.overlap[1].candidate == pytest.approx(0.9)
    assert all(one.ok for one in found.propensity_calibration)
    assert found.naive.logged_mean == pytest.approx(log.rewards.mean())
    assert found.doubts == []


@pytest.mark.parametrize(("better", "said"), [(0.4, "better"), (0.05, "worse"), (0.2, "not distinguishable")])
def test_the_verdict_follows_the_truth(better: float, said: str) -> None:
    log, one, _ = made(np.random.default_rng(8), 4000, better=better)
    assert evaluate(log, one).verdict == said


def test_a_policy_is_not_distinguishable_from_itself() -> None:
    log, one, _ = made(np.random.default_rng(9), 500)
    found = evaluate(log, one, one)
    assert (found.difference.value, found.difference.interval) == (0.0, (0.0, 0.0))
    assert found.verdict == "not distinguishable"


def never_logged() -> tuple[Log, FloatArray]:
    rng = np.random.default_rng(10)
    n = 1000
    dist = np.tile([0.0, 0.5, 0.5], (n, 1))
    action = rng.integers(0, 2, n)
    return Log(("a", "b", "c"), action, rng.random(n).round(), np.full(n, 0.5)), dist


def test_an_action_that_was_never_logged_makes_a_candidate_not_evaluable() -> None:
    log, dist = never_logged()
    found = evaluate(log, Candidate("c too", log.at_actions(dist), dist))
    assert found.verdict == "not evaluable: no support for c"
    assert found.diagnostics.unsupported == pytest.approx(0.5)
    low, high = found.estimates["snips"].interval or (1, 0)
    # Half of what it does may bring anything.
    assert float(high or 0) - float(low or 0) >= 0.5


def test_a_candidate_that_never_overlaps_the_log_has_no_value() -> None:
    log, _ = never_logged()
    dist = np.tile([0.0, 0.0, 1.0], (len(log), 1))
    found = evaluate(log, Candidate("only c", log.at_actions(dist), dist))
    assert found.verdict == "not evaluable: no support for c"
    assert found.estimates["snips"].value is None
    assert "never does" in found.estimates["snips"].why


def test_propensities_that_do_not_fit_show_and_nothing_is_called_better() -> None:
    log, one, _ = made(np.random.default_rng(14), 4000, better=0.6)
    high = evaluate(replace(log, propensities=np.full(len(log), 0.9)), one)
    assert high.verdict.startswith("not evaluable: no support for ")
    assert any("weights average" in doubt for doubt in high.diagnostics.doubts)
    low = evaluate(replace(log, propensities=np.full(len(log), 0.25)), one)
    assert low.verdict.startswith("not evaluable: the propensities do not fit")
    assert not low.diagnostics.propensity_calibration[0].ok
    vectors = np.tile([0.8, 0.2], (len(log), 1))
    told = evaluate(replace(log, logged_dist=vectors), one).diagnostics.propensity_calibration
    assert told[0].expected == pytest.approx(3200)
    assert not told[0].ok


def test_one_arm_no_rewards_and_few_users_are_doubted() -> None:
    n = 200
    log = Log(("a",), np.zeros(n, dtype=np.intp), np.zeros(n), np.ones(n), owners=np.arange(n) % 10)
    found = evaluate(log, Candidate("a", np.ones(n), np.ones((n, 1))))
    assert found.verdict == "not distinguishable"
    said = " / ".join(found.diagnostics.doubts)
    assert "only 10 users" in said
    assert "no round was rewarded" in said
    assert "every round took a: the log tells of no other action" in said
    # Nothing was seen, which is not to know that there is nothing; no model knows that was fitted on it.
    for name in ("ips", "dr", "sndr"):
        low, high = found.estimates[name].interval or (1, 0)
        assert (low, 0 < float(high or 0) < 0.3) == (0.0, True), name
    assert (found.estimates["dm"].method, found.estimates["dr"].method) == ("bootstrap", "likelihood")


def test_an_answer_has_no_number_that_json_has_not() -> None:
    n = 40
    one = np.zeros(n, dtype=np.intp)
    # All weights are 2: off for certain. All users are one: nothing is certain.
    for owners in (None, one):
        log = Log(("a", "b"), one, np.ones(n), np.full(n, 0.5), owners=owners)
        found = evaluate(
            log, candidate(log, "always:a", distributions), how=How(intervals=["all"], promote=True)
        )
        assert json.loads(json.dumps(msgspec.to_builtins(found), allow_nan=False))["candidate"] == "always:a"
        assert msgspec.convert(msgspec.to_builtins(found), Evaluation) == found


def test_one_user_has_no_normal_interval_and_no_certainty() -> None:
    log, one, _ = made(np.random.default_rng(15), 500, users=1)
    found = evaluate(log, one, how=How(["ips"], ["normal"])).estimates["ips"]
    assert found.intervals["normal"] == (None, None)
    assert found.interval == (0.0, 1.0)


def test_a_model_is_fitted_where_the_log_has_none() -> None:
    rng = np.random.default_rng(16)
    log, one, truth = made(rng, 3000)
    found = evaluate(replace(log, context=rng.normal(size=(3000, 2))), one)
    for name in ("dm", "dr", "sndr", "switch_dr", "dros"):
        assert found.estimates[name].value == pytest.approx(truth, abs=0.04), name
    assert found.estimates["dm"].method == "bootstrap"


def test_pictures_of_a_log_whose_vectors_are_known() -> None:
    log, one, _ = made(np.random.default_rng(20), 200, users=50)
    minutes = np.datetime64("2026-03-02T10:00", "us") + np.arange(200) * np.timedelta64(60, "s")
    log = replace(log, logged_dist=np.full((200, 2), 0.5), moments=minutes)
    drawn = figures(log, one, logged(log), evaluate(log, one))
    assert list(drawn) == ["forest", "weights", "overlap", "value"]
    # Candidate and baseline, each at the times of all its parts.
    lines = drawn["value"].axes[0].get_lines()
    assert [np.asarray(line.get_xdata()).size for line in lines] == [24, 24]


def test_candidates_by_name() -> None:
    log, _, _ = made(np.random.default_rng(17), 300)
    assert candidate(log, "uniform", distributions).chosen == pytest.approx(0.5)
    assert candidate(log, "logged", distributions).chosen == pytest.approx(0.5)
    always = candidate(log, "always:b", distributions)
    assert always.chosen.tolist() == (log.action == 1).tolist()
    found: Evaluation = evaluate(log, always)
    assert found.estimates["replay"].value == pytest.approx(log.rewards[log.action == 1].mean())
    with pytest.raises(UnknownCandidate, match="no support for 'z'"):
        candidate(log, "always:z", distributions)
    with pytest.raises(UnknownCandidate, match='did you mean "uniform"'):
        candidate(log, "unifrom", distributions)
    for wrong in ("alwys:b", "b"):
        with pytest.raises(UnknownCandidate, match='; did you mean "always:b"\\? name'):
            candidate(log, wrong, distributions)
    with pytest.raises(UnknownCandidate, match=r"no file 'best\.csv'; name logged"):
        candidate(log, "best.csv", distributions)
    with pytest.raises(UnknownCandidate, match="no column action_dist"):
        candidate(log, None, distributions)


def test_what_is_asked_wrongly_is_said() -> None:
    log, one, _ = made(np.random.default_rng(18), 50)
    with pytest.raises(UnknownEstimator, match='did you mean "normal"'):
        evaluate(log, one, how=How(intervals=["normall"]))
    for wrong in ({"confidence": 95.0}, {"resamples": 1}):
        with pytest.raises(InvalidRounds):
            How(**wrong)
    with pytest.raises(InvalidRounds, match="outside"):
        log.between(0.0, 0.5)
