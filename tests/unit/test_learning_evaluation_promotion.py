"""Promotion on proof: the paired difference at all times at once, guards, and every reason to refuse."""

from __future__ import annotations

import doctest
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from learning.errors import InvalidRounds
from learning.evaluation import Candidate, How, Log, evaluate
from learning.evaluation.difference import ever_proven, paired
from learning.evaluation.evaluate import weighed
from learning.evaluation.log import Refused
from learning.evaluation.promotion import Promotion
from learning.evaluation.rounds import Weighed


def made(
    seed: int, n: int, *, gain: float, harm: float = 0.0, users: int | None = None
) -> tuple[Log, Candidate]:
    """Two arms drawn evenly, worth .2 and .2 + gain, with complaints in .02 and .02 + harm of rounds."""
    rng = np.random.default_rng(seed)
    action = rng.integers(0, 2, n)
    rewards = (rng.random(n) < 0.2 + gain * action).astype(np.float64)
    complaints = (rng.random(n) < 0.02 + harm * action).astype(np.float64)
    dist = np.tile([0.1, 0.9], (n, 1))
    owners = np.arange(n) % users if users else None
    log = Log(("a", "b"), action, rewards, np.full(n, 0.5), guards={"complaints": complaints}, owners=owners)
    return log, Candidate("mostly b", log.at_actions(dist), dist)


def gate(log: Log, one: Candidate, **margins: float) -> Promotion:
    found = evaluate(log, one, how=How(["snips"], promote=True, margins=margins)).promotion
    assert found is not None
    return found


def test_examples_in_the_documentation_hold() -> None:
    tried = doctest.testmod(import_module("learning.evaluation.difference"))
    assert (tried.attempted >= 6, tried.failed) == (True, 0)


def test_a_proven_gain_that_keeps_its_guards_is_promoted() -> None:
    log, one = made(1, 6000, gain=0.2)
    found = gate(log, one, complaints=0.02)
    assert (found.promote, found.reasons) == (True, [])
    assert 0 < found.low < found.value
    assert found.guards[0].kept
    assert gate(*made(1, 6000, gain=0.2, users=1500)).promote


def test_every_reason_is_told() -> None:
    log, one = made(2, 3000, gain=0.0, harm=0.1)
    log = replace(log, refused=(Refused(7, "pscore", "a propensity must be above 0, not 0"),))
    found = gate(log, one, complaints=0.005, opt_outs=0.01)
    assert not found.promote
    said = " / ".join(found.reasons)
    assert "the gain is not proven" in said
    assert "the guard complaints is not kept" in said
    assert "no guard metric 'opt_outs'" in said
    assert "row 7, pscore" in said


def test_what_can_not_be_evaluated_is_not_promoted() -> None:
    log, one = made(3, 6000, gain=0.3)
    wrong = gate(replace(log, propensities=np.full(len(log), 0.9)), one)
    assert any(reason.startswith("not evaluable") for reason in wrong.reasons)
    money = replace(log, rewards=log.rewards * 300, high=300.0)
    assert any("how large a reward can be" in reason for reason in gate(money, one).reasons)
    assert gate(replace(money, declared=True), one).promote


@pytest.mark.parametrize("users", [None, 250])
def test_without_a_difference_hardly_any_look_promotes(users: int | None) -> None:
    promoted = 0
    for seed in range(40):
        log, one = made(seed, 1000, gain=0.0, users=users)
        for n in (100, 300, 600, 1000):
            part = replace(
                log,
                action=log.action[:n],
                rewards=log.rewards[:n],
                propensities=log.propensities[:n],
                owners=None if log.owners is None else log.owners[:n],
            )
            seen = weighed(part, Candidate("b", one.chosen[:n], None))
            logged = weighed(part, Candidate("logged", part.propensities, None))
            if paired(seen, logged, 0.95).low > 0:
                promoted += 1
                break
    assert promoted <= 2


def test_a_difference_is_found_where_there_is_one() -> None:
    log, one = made(5, 4000, gain=0.1)
    seen, logged = weighed(log, one), weighed(log, Candidate("logged", log.propensities, None))
    found = paired(seen, logged, 0.95)
    assert found.low < 0.04 < found.high
    assert found.low > 0
    mirrored = paired(logged, seen, 0.95)
    assert mirrored.low == pytest.approx(-found.high, abs=0.01)
    assert mirrored.high == pytest.approx(-found.low, abs=0.01)


def test_who_looks_after_every_round_sees_what_is_seen_on_the_rounds_so_far() -> None:
    log, one = made(7, 400, gain=0.3)
    seen, logged = weighed(log, one), weighed(log, Candidate("logged", log.propensities, None))

    def first(size: int) -> tuple[Weighed, Weighed]:
        sides = (Weighed(one.rewards[:size], one.weights[:size], largest=one.bound) for one in (seen, logged))
        return next(sides), next(sides)

    proven = [paired(*first(size), 0.95).low > 0 for size in range(20, 400, 20)]
    place = proven.index(True)
    assert ever_proven(*first(20 * (place + 1)), 0.95)
    assert not ever_proven(*first(20 * place), 0.95) or any(
        paired(*first(size), 0.95).low > 0 for size in range(20 * (place - 1), 20 * place)
    )
    with pytest.raises(InvalidRounds, match="leave the users out"):
        ever_proven(replace(seen, owners=np.arange(400)), logged, 0.95)


def halves(rng: np.random.Generator, gains: list[tuple[int, float]]) -> tuple[Weighed, Weighed]:
    """Return two policies on rounds of a fair coin: one always takes what is better by each gain in turn."""
    gain = np.concatenate([np.full(n, worth) for n, worth in gains])
    coin = rng.integers(0, 2, len(gain))
    rewards = (rng.random(len(gain)) < 0.3 + gain * coin).astype(float)
    one, other = (Weighed(rewards, 2.0 * (coin == side), largest=2) for side in (1, 0))
    return one, other


def test_a_policy_that_learned_is_judged_by_what_it_became() -> None:
    one, other = halves(np.random.default_rng(2), [(3_000, -0.1), (3_000, 0.12)])
    assert paired(one, other, 0.95).low < 0
    found = paired(one, other, 0.95, learning=True)
    assert 0 < found.low < 0.12
    assert found.low <= found.value <= found.high


def test_one_that_was_better_and_got_worse_is_worse() -> None:
    one, other = halves(np.random.default_rng(2), [(1_000, 0.25), (4_500, -0.25)])
    assert paired(one, other, 0.95, learning=True).high < 0


def test_gamblers_who_begin_late_are_right_as_often() -> None:
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(12):
        one, other = halves(rng, [(2_500, 0.0)])
        for n in (1_200, 2_500):
            seen, beside = (Weighed(side.rewards[:n], side.weights[:n], largest=2) for side in (one, other))
            if paired(seen, beside, 0.9, learning=True).low > 0:
                wrong += 1
                break
    assert wrong <= 3
