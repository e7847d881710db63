"""Races: policies side by side over shuffled rounds, each told only what the arm it drew earned."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from learning.exploration import with_floor
from learning.simulation.player import FloatArray, Make, Setting
from learning.simulation.policies import POLICIES, check_policies
from learning.simulation.table import Table
from learning.simulation.vw_explorers import EXPLORERS
from learning.spreading import spread


@dataclass(frozen=True, slots=True)
class Race:
    """What is run: `shuffles` of the rounds, and `floor`, the total mass that is spread evenly over the arms.

    No policies: all there are. No processes: one for each core.
    """

    policies: Sequence[str] = ()
    shuffles: int = 8
    floor: float = 0.01
    seed: int = 0
    processes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """One policy's way through one shuffle, round by round.

    `order` (n,) rows of the table, `vectors` (n, k), `actions` (n,), `rewards` (n,). `changes` tells of a
    portfolio who came to be in charge, and after how many rounds.
    """

    policy: str
    shuffle: int
    order: NDArray[np.intp]
    vectors: FloatArray
    actions: NDArray[np.intp]
    rewards: FloatArray
    changes: tuple[tuple[int, str], ...]


class Raced(msgspec.Struct, frozen=True):
    """What a policy earned a round: mean over all shuffles, and the standard error between them.

    None for one shuffle, which says nothing of others.
    """

    mean: float
    se: float | None


def run(
    table: Table,
    race: Race,
    log: Callable[[Rounds], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Raced]:
    """Run policies over shuffles of a table, in processes, and say what each earned, exploration counted.

    Deterministic for a seed, however many processes there are; all policies see the rounds of a shuffle in
    one order.

    Args:
        log: is told of each policy's way through each shuffle.

    Raises:
        UnknownPlayer: there is none of a name.
        WorkerDied: a process died, as one does that runs out of memory.
    """
    names = check_policies(race.policies)
    tasks = [(name, shuffle) for shuffle in range(race.shuffles) for name in names]
    earned: dict[str, list[float]] = {name: [] for name in names}
    for done, rounds in enumerate(_runs(table, race, tasks), 1):
        earned[rounds.policy].append(float(rounds.rewards.mean()))
        if log is not None:
            log(rounds)
        if say is not None:
            mean = earned[rounds.policy][-1]
            say(f"{done}/{len(tasks)}: {rounds.policy}, shuffle {rounds.shuffle}: {mean:.4f}")
    return {name: _raced(means) for name, means in earned.items()}


def play(table: Table, name: str, make: Make, race: Race, shuffle: int) -> Rounds:
    """Let one policy play one shuffle of a table."""
    order = np.random.default_rng([race.seed, shuffle]).permutation(len(table))
    # What policies draw with is the same for all of them, so that they differ by what they do.
    draws = np.random.default_rng([race.seed, shuffle, 1]).random(len(table))
    seed = int(np.random.default_rng([race.seed, shuffle, 2]).integers(2**31))
    arms = len(table.arms)
    player = make(Setting(arms, table.context.shape[1], table.low, table.high, seed))
    vectors, actions = np.empty((len(table), arms)), np.empty(len(table), dtype=np.intp)
    rewards = np.empty(len(table))
    for place, row in enumerate(order.tolist()):
        context = table.context[row]
        vector = with_floor(player.vector(context), race.floor)
        action = min(int(np.searchsorted(np.cumsum(vector), draws[place], side="right")), arms - 1)
        reward = float(table.rewards[row, action])
        player.learn(context, action, reward, vector)
        vectors[place], actions[place], rewards[place] = vector, action, reward
    changes = tuple(getattr(player, "changes", ()))
    return Rounds(name, shuffle, order, vectors, actions, rewards, changes)


def _runs(table: Table, race: Race, tasks: Sequence[tuple[str, int]]) -> Iterator[Rounds]:
    processes = min(race.processes or os.cpu_count() or 1, len(tasks))
    if processes == 1 and not any(name in EXPLORERS for name, _ in tasks):
        yield from (play(table, name, POLICIES[name], race, shuffle) for name, shuffle in tasks)
        return
    # VW must not come to where there are threads.
    yield from spread(_task, (table, race), tasks, processes)


def _task(given: tuple[Table, Race], task: tuple[str, int]) -> Rounds:
    table, race = given
    name, shuffle = task
    return play(table, name, POLICIES[name], race, shuffle)


def _raced(means: Sequence[float]) -> Raced:
    error = float(np.std(means, ddof=1)) / math.sqrt(len(means)) if len(means) > 1 else None
    return Raced(float(np.mean(means)), error)
