"""Promotion: is what is promoted no worse than the best constant arm, and is a real gain promoted?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from learning.challengers.rules import sure
from learning.evaluation.difference import Bounds, paired
from learning.evaluation.rounds import FloatArray, Weighed
from learning.models import LinearGaussian

ROUNDS = 32_000
SEEDS = 20
ARMS = 3
SAFE = 19 / 20
NOT_TIMID = 16 / 20
# How much less than the best constant arm is as good.
_NEAR = 0.001
# Rounds between two trainings, each followed by a look at the evidence.
_BATCH = 2_000
# Half of the draws go to what the policy in charge would do, the rest to the other arms alike.
_LOGGED = 0.5
_CONFIDENCE = 0.95
# Mean rewards of kinds of users by arm. All kinds alike: to tell them apart is to learn noise.
_PLAIN: FloatArray = np.tile([0.30, 0.29, 0.29], (8, 1))
# Each kind likes an arm of its own: the best of each is worth .33, the best constant arm .30.
_PLANTED: FloatArray = np.full((ARMS, ARMS), 0.285) + np.diag([0.045] * ARMS)

Proof = Callable[[Weighed, Weighed, float], Bounds]


class _Round(NamedTuple):
    """Rounds since the last change of charge: what the challenger and the champion weigh, and the reward."""

    challenger: FloatArray
    champion: FloatArray
    rewards: FloatArray


class _Ended(NamedTuple):
    """Who was in charge at the end: what that is worth, and whether it is the learnt policy."""

    value: float
    promoted: bool


def safe(seeds: int, _folder: Path, say: Say) -> Sequence[Pair]:
    """Return the share of logs at whose end whoever is in charge is within .001 of the best constant arm."""
    best = float(_PLAIN.mean(axis=0).max())

    def near(ended: _Ended) -> bool:
        return ended.value >= best - _NEAR

    return _compared(seeds, _PLAIN, near, "within .001 of the best constant arm", say)


def not_timid(seeds: int, _folder: Path, say: Say) -> Sequence[Pair]:
    """Return the share of logs in which a policy that is worth a tenth more is in charge at the end."""
    return _compared(seeds, _PLANTED, lambda ended: ended.promoted, "promoted", say)


def _compared(
    seeds: int, means: FloatArray, good: Callable[[_Ended], bool], what: str, say: Say
) -> Sequence[Pair]:
    """Return the shares of either half of the seeds, whose mean is the share of all."""
    halves = [range(1, seeds // 2 + 1), range(seeds // 2 + 1, 2 * (seeds // 2) + 1)]
    pairs = []
    for half in halves:
        ours = naive = 0
        for seed in half:
            ended, plain = _live(seed, means, _proven), _live(seed, means, _normal)
            ours += good(ended)
            naive += good(plain)
            say(
                f"seed {seed}: {ended.value:.4f}, {'learnt' if ended.promoted else 'constant'} in charge; by "
                f"normal intervals {plain.value:.4f}, {'learnt' if plain.promoted else 'constant'}"
            )
        say(f"{what}: {ours} of {len(half)}; by normal intervals {naive}")
        # Half a log stands for none, so that a ratio can be made.
        pairs.append(Pair(ours / len(half), max(naive, 0.5) / len(half)))
    return pairs


def _live(seed: int, means: FloatArray, proof: Proof) -> _Ended:
    """Let a learner compete with the best constant arm, as the service does, and say who wins."""
    rng = np.random.default_rng(seed)
    cells, of_kinds = np.eye(means.size), len(means)
    names = tuple(map(str, range(means.size)))
    model = LinearGaussian.prior(names, low=0.0, high=1.0, ridge=1.0)
    constant = np.full(of_kinds, int(means.mean(axis=0).argmax()))
    learnt_in_charge, falls = False, 0
    since: list[_Round] = []
    for _ in range(ROUNDS // _BATCH):
        learnt = model.predict(cells).reshape(means.shape).argmax(axis=1)
        champion, challenger = (learnt, constant) if learnt_in_charge else (constant, learnt)
        kinds = rng.integers(0, of_kinds, _BATCH)
        liked = champion[kinds]
        others = (liked + rng.integers(1, ARMS, _BATCH)) % ARMS
        drawn = np.where(rng.random(_BATCH) < _LOGGED, liked, others)
        propensities = np.where(drawn == liked, _LOGGED, (1 - _LOGGED) / (ARMS - 1))
        rewards = (rng.random(_BATCH) < means[kinds, drawn]).astype(np.float64)
        since.append(
            _Round(
                (drawn == challenger[kinds]) / propensities,
                (drawn == champion[kinds]) / propensities,
                rewards,
            )
        )
        model = model.learn(cells[kinds * ARMS + drawn], rewards)
        # As the service does: each return of a policy needs twice the proof.
        found = _look(since, proof, sure(_CONFIDENCE, 1, falls))
        if found.low > 0:
            falls += learnt_in_charge
            learnt_in_charge, since = not learnt_in_charge, []
    ended = learnt if learnt_in_charge else constant
    return _Ended(float(means[np.arange(of_kinds), ended].mean()), learnt_in_charge)


def _look(since: Sequence[_Round], proof: Proof, confidence: float) -> Bounds:
    challenger, champion, rewards = (np.concatenate(column) for column in zip(*since, strict=True))
    largest = (ARMS - 1) / (1 - _LOGGED)
    return proof(
        Weighed(rewards, challenger, largest=largest),
        Weighed(rewards, champion, largest=largest),
        confidence,
    )


def _proven(one: Weighed, other: Weighed, confidence: float) -> Bounds:
    # As `promotion` asks: each bound by itself.
    return paired(one, other, 1 - 2 * (1 - confidence), learning=True)


def _normal(one: Weighed, other: Weighed, confidence: float) -> Bounds:
    """Return the interval of somebody who looks again and again as if each look were the only one."""
    differences = (one.weights - other.weights) * one.rewards
    mean = float(differences.mean())
    reach = 1.96 * float(differences.std()) / len(differences) ** 0.5
    return Bounds(mean, mean - reach, mean + reach)


PROMOTION_SAFE = Benchmark(
    name="promotion_safe",
    measures=(
        f"Share of {SEEDS} logs of {ROUNDS:,} rounds and {ARMS} arms, in which personalising does not help, "
        "at whose end whoever is in charge is worth at most .001 less than the best constant arm."
    ),
    against="Promotion by normal intervals that are looked at as often.",
    unit="share",
    bound=Bound("value", ">=", SAFE),
    run=partial(safe, SEEDS),
    sized=lambda trials: partial(safe, trials),
)
PROMOTION_NOT_TIMID = Benchmark(
    name="promotion_not_timid",
    measures=(
        f"Share of {SEEDS} logs of {ROUNDS:,} rounds and {ARMS} arms, in which the best policy is worth a "
        "tenth more than the best constant arm, at whose end the learnt policy is in charge."
    ),
    against="Promotion by normal intervals that are looked at as often.",
    unit="share",
    bound=Bound("value", ">=", NOT_TIMID),
    run=partial(not_timid, SEEDS),
    sized=lambda trials: partial(not_timid, trials),
)
