"""Promotion: is what is promoted no worse than the best constant arm, and is a real gain promoted?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
# Rounds between two trainings; after each, or more often, the evidence is looked at.
_BATCH = 2_000
# Half of the draws go to what the policy in charge would do, the rest to the other arms alike.
_LOGGED = 0.5
_CONFIDENCE = 0.95

Proof = Callable[[Weighed, Weighed, float], Bounds]
Places = NDArray[np.intp]


class World(NamedTuple):
    """How rewards come about: a chance for each kind of user and arm, shape (kinds, ARMS).

    `swing` moves all chances up and down together as time goes by. `spread` is that of the logarithm of
    amounts, about `amount` in the mean and cut at 1; without it a reward is 1. The evidence is looked at
    `looks` times between two trainings.
    """

    name: str
    means: FloatArray
    swing: float = 0.0
    spread: float = 0.0
    amount: float = 1.0
    looks: int = 1

    def chances(self, done: float) -> FloatArray:
        """Return the chances when a share of the log is done."""
        return self.means + self.swing * math.sin(4 * math.pi * done)

    def rewards(self, rng: np.random.Generator, chances: FloatArray) -> FloatArray:
        """Draw a reward for each chance."""
        found = (rng.random(len(chances)) < chances).astype(np.float64)
        if self.spread:
            sizes = np.exp(self.spread * rng.normal(size=len(found)) - self.spread**2 / 2)
            found *= np.minimum(self.amount * sizes, 1.0)
        return found


def _alike(kinds: int, best: float, other: float) -> FloatArray:
    """Return chances that are the same for all kinds: to tell them apart is to learn noise."""
    return np.tile([best, other, other], (kinds, 1))


def planted(base: float) -> World:
    """Return a world in which each kind likes an arm of its own: worth a tenth more than the best for all."""
    means = np.full((ARMS, ARMS), 0.95 * base) + np.diag([0.15 * base] * ARMS)
    return World(f"mean {base:g}", means)


PLAIN = World("plain", _alike(8, 0.30, 0.29))
# What makes a learner or a bound err: arms next to equal, many kinds that mean nothing, levels that move, and
# amounts of which few are large.
HARD = (
    World("nearly equal arms, looked at often", _alike(8, 0.30, 0.297), looks=8),
    World("noise features", _alike(60, 0.30, 0.29)),
    World("drift", _alike(8, 0.30, 0.29), swing=0.15),
    World("heavy tails", _alike(8, 0.50, 0.45), spread=1.5, amount=0.1),
)
PLANTED = planted(0.3)
# Where so few rewards tell that no test can find all gains in so many rounds.
SCARCE = (planted(0.2), planted(0.1))


class _Round(NamedTuple):
    """Rounds since the last change of charge: what the challenger and the champion weigh, and the reward."""

    challenger: FloatArray
    champion: FloatArray
    rewards: FloatArray


class _Ended(NamedTuple):
    """Who was in charge at the end, and what that is worth; `least` is the least that was ever in charge.

    `known`: somebody who knows all along what the learnt policy is worth would have promoted it.
    """

    value: float
    least: float
    promoted: bool
    known: bool


def safe(seeds: int, _folder: Path, say: Say, worlds: Sequence[World] = (PLAIN,)) -> Sequence[Pair]:
    """Return the share of logs in which all that was ever in charge is within .001 of the best constant arm.

    Of several worlds that in which it is least.
    """
    found = []
    for world in worlds:
        best = float(world.means.mean(axis=0).max())

        def near(ended: _Ended, best: float = best) -> bool:
            return ended.least >= best - _NEAR

        found.append(_compared(seeds, world, near, "within .001 of the best constant arm", say))
    return min(found, key=lambda pairs: sum(one.subject for one in pairs))


def not_timid(seeds: int, _folder: Path, say: Say) -> Sequence[Pair]:
    """Return the share of logs in which a policy that is worth a tenth more is in charge at the end."""
    return _compared(seeds, PLANTED, lambda ended: ended.promoted, "promoted", say)


def reach(seeds: int, _folder: Path, say: Say) -> Sequence[Pair]:
    """Return for each world the share promoted, beside that of somebody who knows what the gain is.

    That is the bet which grows fastest (Kelly, Bell System Technical Journal 1956) on what the learnt policy
    really adds at each moment: no bound that holds at all times finds out much more.

    Where the best constant arm earns .1, `ROUNDS` tell too little: somebody who has the best policy from the
    first round on and knows its gain promotes in .75 of 300 logs, one look at the end finds it in .91, and
    the learnt policy is the best one late.
    """
    pairs = []
    for world in SCARCE:
        ours = known = 0
        for seed in range(1, seeds + 1):
            ended = _live(seed, world, _proven)
            ours += ended.promoted
            known += ended.known
            say(f"seed {seed}, {world.name}: {'promoted' if ended.promoted else 'not promoted'}")
        say(f"{world.name}: promoted in {ours} of {seeds}; by somebody who knows the gain in {known}")
        pairs.append(Pair(ours / seeds, max(known, 0.5) / seeds))
    return pairs


def _compared(
    seeds: int, world: World, good: Callable[[_Ended], bool], what: str, say: Say
) -> Sequence[Pair]:
    """Return the shares of either half of the seeds, whose mean is the share of all."""
    halves = [range(1, seeds // 2 + 1), range(seeds // 2 + 1, 2 * (seeds // 2) + 1)]
    pairs = []
    for half in halves:
        ours = naive = 0
        for seed in half:
            ended, plain = _live(seed, world, _proven), _live(seed, world, _normal)
            ours += good(ended)
            naive += good(plain)
            say(
                f"seed {seed}, {world.name}: {ended.value:.4f} at the end, at least {ended.least:.4f}, "
                f"{'learnt' if ended.promoted else 'constant'} in charge; by normal intervals "
                f"{plain.value:.4f}, {plain.least:.4f}, {'learnt' if plain.promoted else 'constant'}"
            )
        say(f"{world.name}, {what}: {ours} of {len(half)}; by normal intervals {naive}")
        # Half a log stands for none, so that a ratio can be made.
        pairs.append(Pair(ours / len(half), max(naive, 0.5) / len(half)))
    return pairs


def _live(seed: int, world: World, proof: Proof) -> _Ended:
    """Let a learner compete with the best constant arm, as the service does, and say who wins."""
    rng = np.random.default_rng(seed)
    means = world.means
    cells, of_kinds = np.eye(means.size), len(means)
    names = tuple(map(str, range(means.size)))
    model = LinearGaussian.prior(names, low=0.0, high=1.0, ridge=1.0)
    constant = np.full(of_kinds, int(means.mean(axis=0).argmax()))
    learnt_in_charge, falls = False, 0
    since: list[_Round] = []
    step = _BATCH // world.looks
    owned, known = 0.0, False
    worths: list[float] = []
    for turn in range(ROUNDS // step):
        if turn % world.looks == 0:
            learnt = model.predict(cells).reshape(means.shape).argmax(axis=1)
        champion, challenger = (learnt, constant) if learnt_in_charge else (constant, learnt)
        kinds = rng.integers(0, of_kinds, step)
        liked = champion[kinds]
        others = (liked + rng.integers(1, ARMS, step)) % ARMS
        drawn = np.where(rng.random(step) < _LOGGED, liked, others)
        propensities = np.where(drawn == liked, _LOGGED, (1 - _LOGGED) / (ARMS - 1))
        rewards = world.rewards(rng, world.chances(turn * step / ROUNDS)[kinds, drawn])
        new = _Round(
            (drawn == challenger[kinds]) / propensities, (drawn == champion[kinds]) / propensities, rewards
        )
        since.append(new)
        if not learnt_in_charge:
            owned += _won(new, means, kinds, learnt, constant)
            known |= owned >= -math.log(1 - _CONFIDENCE)
        model = model.learn(cells[kinds * ARMS + drawn], rewards)
        # As the service does: each return of a policy needs twice the proof.
        found = _look(since, proof, sure(_CONFIDENCE, 1, falls))
        if found.low > 0:
            falls += learnt_in_charge
            learnt_in_charge, since = not learnt_in_charge, []
        worths.append(_worth(means, learnt if learnt_in_charge else constant))
    return _Ended(worths[-1], min(worths), learnt_in_charge, known)


def _worth(means: FloatArray, policy: Places) -> float:
    """Return what a policy is worth that takes an arm for each kind of user."""
    return float(means[np.arange(len(means)), policy].mean())


def _won(new: _Round, means: FloatArray, kinds: Places, learnt: Places, constant: Places) -> float:
    """Return what somebody wins, as a logarithm, who knows by how much the learnt policy is better."""
    places = np.arange(len(means))
    gain = float((means[places, learnt] - means[places, constant]).mean())
    if gain <= 0:
        return 0.0
    base = float(means.mean())
    brought = (new.challenger - new.champion) * (new.rewards - base)
    differ = float((learnt != constant)[kinds].mean())
    variance = differ * base * (1 - base) * (1 / _LOGGED + (ARMS - 1) / (1 - _LOGGED))
    stake = min(gain / variance, 0.98 * (1 - _LOGGED) / (ARMS - 1))
    return float(np.log1p(stake * brought).sum())


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
        "and nothing was ever in charge that is worth more than .001 less than the best constant arm."
    ),
    against="Promotion by normal intervals that are looked at as often.",
    unit="share",
    bound=Bound("value", ">=", SAFE),
    run=partial(safe, SEEDS),
    sized=lambda trials: partial(safe, trials),
)
PROMOTION_SAFE_HARD = Benchmark(
    name="promotion_safe_hard",
    measures=(
        "The same where it is easier to err, and where that is least: "
        f"{', '.join(world.name for world in HARD)}; {SEEDS} logs each."
    ),
    against="Promotion by normal intervals that are looked at as often.",
    unit="share",
    bound=Bound("value", ">=", SAFE),
    run=partial(safe, SEEDS, worlds=HARD),
    sized=lambda trials: partial(safe, trials, worlds=HARD),
)
PROMOTION_NOT_TIMID = Benchmark(
    name="promotion_not_timid",
    measures=(
        f"Share of {SEEDS} logs of {ROUNDS:,} rounds and {ARMS} arms, in which the best policy is worth a "
        "tenth more than the best constant arm, which earns .3, at whose end the learnt policy is in charge."
    ),
    against="Promotion by normal intervals that are looked at as often.",
    unit="share",
    bound=Bound("value", ">=", NOT_TIMID),
    run=partial(not_timid, SEEDS),
    sized=lambda trials: partial(not_timid, trials),
)
PROMOTION_REACH = Benchmark(
    name="promotion_reach",
    measures=(
        f"The same where the best constant arm earns .2 and .1, so that {ROUNDS:,} rounds tell less: the "
        f"share of {SEEDS} logs each in which the learnt policy is promoted."
    ),
    against="Somebody who bets knowing at each moment what the learnt policy adds.",
    unit="share",
    bound=Bound("ratio", ">=", 0.5),
    run=partial(reach, SEEDS),
    sized=lambda trials: partial(reach, trials),
)
