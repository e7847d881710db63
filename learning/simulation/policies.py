"""The policies that a race can be run with, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from audiences.rules.source import closest
from learning.errors import UnknownPlayer
from learning.simulation.members import Alone, Average, Logistic, Member, kernel, linear
from learning.simulation.player import FloatArray, Make, Player, Setting
from learning.simulation.portfolio import Portfolio
from learning.simulation.vw_explorers import EXPLORERS, VwExplorer

# The first is in charge of a portfolio at the beginning.
MEMBERS: Mapping[str, Callable[[Setting], Member]] = {
    "kernel": kernel,
    "linear": linear,
    "logistic": Logistic,
    "average": Average,
}


class Uniform:
    """Every arm alike, whatever was learnt."""

    def __init__(self, setting: Setting) -> None:
        self._arms = setting.arms

    def vector(self, context: FloatArray) -> FloatArray:
        return np.full(self._arms, 1.0 / self._arms)

    def learn(self, context: FloatArray, action: int, reward: float, vector: FloatArray) -> None:
        pass


def _portfolio(setting: Setting) -> Player:
    return Portfolio(setting, {name: make(setting) for name, make in MEMBERS.items()})


def _alone(name: str, setting: Setting) -> Player:
    return Alone(setting, MEMBERS[name](setting))


def _vw(name: str, setting: Setting) -> Player:
    return VwExplorer(setting, EXPLORERS[name])


POLICIES: Mapping[str, Make] = {
    "portfolio": _portfolio,
    **{name: partial(_alone, name) for name in MEMBERS},
    **{name: partial(_vw, name) for name in EXPLORERS},
    "uniform": Uniform,
}


def check_policies(names: Sequence[str]) -> list[str]:
    """Return the policies of these names, each once, in the registry's order; all when none is named.

    Raises:
        UnknownPlayer: there is none of a name.
    """
    for name in names:
        if name not in POLICIES:
            meant = closest(name, list(POLICIES))
            raise UnknownPlayer(
                f"there is no policy {name!r} to simulate{'; ' + meant if meant else ''}; there are "
                f"{', '.join(POLICIES)}"
            )
    return [name for name in POLICIES if not names or name in names]
