"""What the arms of a playbook earned: value, cost and net of its decisions, by arm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from sqlalchemy import Connection

from learning import earnings_repository
from learning.plans import Plans
from learning.rewards import Reward
from playbooks.models import Arm
from playbooks.money import shown

FloatArray = NDArray[np.float64]

# Fewer users than these say nothing of how much their mean varies.
_FEWEST = 10


class ArmEarnings(msgspec.Struct, frozen=True):
    """What the decisions that drew an arm earned, in units of reward.

    `decisions` were drawn, `rewarded` of them have their reward; `value`, `cost` and `net` are sums over
    these. `mean` is the net of one of them, and `interval` where it lies, None below ten users. `promised` is
    what the arm's offer is worth to the user, as money is written.
    """

    arm: str
    promised: str
    decisions: int
    share: float
    rewarded: int
    value: float
    cost: float
    net: float
    mean: float | None
    interval: tuple[float, float] | None


class Earnings(msgspec.Struct, frozen=True):
    """What a playbook's arms earned, and how sure the intervals are."""

    playbook: str
    decisions: int
    confidence: float
    arms: list[ArmEarnings]


def earnings(
    connection: Connection,
    plans: Plans,
    playbook: str,
    rates: Mapping[str, float],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    confidence: float = 0.95,
) -> Earnings:
    """Return what the decisions of since <= decided_at < until earned that drew one of a playbook's arms.

    Args:
        rates: what a minor unit of a currency costs, in units of reward. An arm costs what outcomes say,
            where the goal reads it, else what it was expected to, if it was delivered.
    """
    drawn: dict[str, int] = {}
    earned: dict[str, list[tuple[str, float, float]]] = {}
    arms: dict[str, Arm] = {}
    for row in earnings_repository.drawn_of_playbook(connection, playbook, since, until):
        drawn[row.arm] = drawn.get(row.arm, 0) + 1
        arms[row.arm] = plans.arm(playbook, row.version, row.arm)
        if row.reward is not None:
            reads = plans.goal(playbook, row.reward.goal or row.version).cost is not None
            cost = row.reward.cost if reads else _expected(arms[row.arm], row.reward, rates)
            earned.setdefault(row.arm, []).append((row.user, row.reward.value, cost))
    total = sum(drawn.values())
    found = [
        _of_arm(arms[arm], number, total, earned.get(arm, []), confidence)
        for arm, number in sorted(drawn.items())
    ]
    return Earnings(playbook, total, confidence, found)


def _expected(arm: Arm, reward: Reward, rates: Mapping[str, float]) -> float:
    return arm.cost * rates.get(arm.currency, 0.0) if reward.acts else 0.0


def _of_arm(
    arm: Arm, decisions: int, total: int, earned: list[tuple[str, float, float]], confidence: float
) -> ArmEarnings:
    value, cost = sum(one[1] for one in earned), sum(one[2] for one in earned)
    nets = np.array([one[1] - one[2] for one in earned])
    return ArmEarnings(
        arm=arm.id,
        promised=shown(arm.value, arm.currency) if arm.currency else "",
        decisions=decisions,
        share=decisions / total,
        rewarded=len(earned),
        value=value,
        cost=cost,
        net=value - cost,
        mean=float(nets.mean()) if earned else None,
        interval=_interval(nets, [one[0] for one in earned], confidence),
    )


def _interval(nets: FloatArray, users: list[str], confidence: float) -> tuple[float, float] | None:
    """Return where a mean lies: normal, decisions of a user taken together.

    Liang and Zeger, "Longitudinal data analysis using generalized linear models" (Biometrika 1986): the sums
    of the deviations of each user are independent, so their squares add up to the variance of the sum.
    """
    known, places = np.unique(np.array(users), return_inverse=True)
    if len(known) < _FEWEST:
        return None
    sums = np.bincount(places, nets - nets.mean())
    error = math.sqrt(float((sums**2).sum()) * len(known) / (len(known) - 1)) / len(nets)
    half = float(ndtri(0.5 + confidence / 2)) * error
    return float(nets.mean()) - half, float(nets.mean()) + half
