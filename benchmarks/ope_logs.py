"""Made-up logs of off-policy evaluation whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from learning.evaluation import Candidate, Log
from learning.evaluation.rounds import FloatArray

ACTIONS = 10
MEAN = 0.1
# The candidate takes its favourite with .91, every other action with .01.
_EXPLORES = 0.1


class Cell(NamedTuple):
    """How many rounds, and which share of them the log explored: .5 makes weights up to 18, .1 to 91."""

    rounds: int
    explored: float

    @property
    def largest(self) -> int:
        return int(_favourite(_EXPLORES) / (self.explored / ACTIONS))

    def __str__(self) -> str:
        return f"{self.rounds} rounds, largest weight {self.largest}"


CELLS: Sequence[Cell] = [Cell(n, explored) for n in (300, 1_000, 5_000) for explored in (0.5, 0.1)]


def made(rng: np.random.Generator, cell: Cell) -> tuple[Log, Candidate, float]:
    """Return a log, a candidate and what it is worth.

    Both policies have a favourite action that depends on the round, never the same one, and draw the others
    alike. Rewards are 0 or 1 with mean .1, whatever is done.
    """
    n = cell.rounds
    theirs = rng.integers(0, ACTIONS, n)
    ours = (theirs + rng.integers(1, ACTIONS, n)) % ACTIONS
    explores = rng.random(n) < cell.explored
    action = np.where(explores, rng.integers(0, ACTIONS, n), theirs)
    least = cell.explored / ACTIONS
    propensities = np.where(action == theirs, _favourite(cell.explored), least)
    rewards = (rng.random(n) < MEAN).astype(np.float64)
    dist: FloatArray = np.full((n, ACTIONS), _EXPLORES / ACTIONS)
    dist[np.arange(n), ours] = _favourite(_EXPLORES)
    log = Log(tuple(map(str, range(ACTIONS))), action, rewards, propensities)
    return log, Candidate("explores .1", log.at_actions(dist), dist), MEAN


def _favourite(explored: float) -> float:
    return 1 - explored + explored / ACTIONS
