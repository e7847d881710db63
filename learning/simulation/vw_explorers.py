"""Vowpal Wabbit's own explorers as peers: `--cb_explore_adf` over the context times the arm.

VW keeps the GIL and can be poisoned by one bad example, so it is imported where a race begins, in a process
that does nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from learning.simulation.basis import Scaling
from learning.simulation.player import FloatArray, Setting
from learning.simulation.rows import Rows

# Costs lie between these.
_COSTS = ("--cb_min_cost", "-1", "--cb_max_cost", "0")
# What each explorer is told; of several settings those that did well on the tables of the benchmarks.
EXPLORERS = {
    "vw_epsilon_greedy": ("--epsilon", "0.02", "--learning_rate", "2"),
    "vw_bag": ("--bag", "5", "--epsilon", "0.02"),
    "vw_cover": ("--cover", "5", "--epsilon", "0.02"),
    "vw_squarecb": ("--squarecb", "--gamma_scale", "100", *_COSTS),
    "vw_regcb": ("--regcbopt", "--mellowness", "0.01", "--learning_rate", "2", *_COSTS),
    "vw_softmax": ("--softmax", "--lambda", "10", "--learning_rate", "2"),
}


class VwExplorer:
    """One of VW's explorers; costs are negative rewards, as shares of their bounds.

    Columns are scaled by the rows seen so far, as for our own models: raw ones it learns far worse from.
    """

    def __init__(self, setting: Setting, options: Sequence[str]) -> None:
        import vowpal_wabbit_next as vw  # noqa: PLC0415 - see above

        self._setting = setting
        self._workspace = vw.Workspace(
            ["--cb_explore_adf", "--quiet", "-q", "UA", "--random_seed", str(setting.seed % 2**31), *options]
        )
        self._parser: Any = vw.TextFormatParser(self._workspace)
        self._arms = [f"|A a{arm}" for arm in range(setting.arms)]
        self._shared = ""
        self._seen = Rows(setting.columns)
        self._scaling: Scaling | None = None

    def vector(self, context: FloatArray) -> FloatArray:
        if self._seen.grown():
            self._scaling = Scaling.of(self._seen.contexts, "each")
        numbers = [] if self._scaling is None else self._scaling.apply(context).tolist()
        told = " ".join(f"{place}:{value:.9g}" for place, value in enumerate(numbers) if value != 0.0)
        self._shared = f"shared |U {told}"
        vector = np.zeros(self._setting.arms)
        for action, chance in self._workspace.predict_one(self._examples(self._arms)):
            vector[action] = chance
        # regcbopt gives each of several equally good arms the chance 1.
        total = float(vector.sum())
        if not (math.isfinite(total) and total > 0):
            return np.full(self._setting.arms, 1 / self._setting.arms)
        return vector / total

    def learn(self, context: FloatArray, action: int, reward: float, vector: FloatArray) -> None:
        self._seen.add(context, action, reward)
        lines = list(self._arms)
        cost = -self._setting.share(reward)
        lines[action] = f"0:{cost:.9g}:{vector[action]:.9g} {lines[action]}"
        self._workspace.learn_one(self._examples(lines))

    def _examples(self, lines: Sequence[str]) -> list[Any]:
        return [self._parser.parse_line(line) for line in (self._shared, *lines)]
