"""Decisions and what they earned, as the log of whoever drew them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection

from learning import repository
from learning.errors import InvalidRounds
from learning.evaluation import Log
from learning.recalls import concerned, recalled_spans
from learning.rewards import Reward
from learning.spec import Bounds
from playbooks.decision import Decision

_PAGE = 2_000
# Cells of the table of arms that may be held; four of them come to 2 GB.
_MOST_CELLS = 64_000_000


class Drawn(NamedTuple):
    """What a policy drew itself, and how many of the decisions each of its versions."""

    log: Log
    versions: Counter[str]


def log_of(bounds: Bounds, decisions: Sequence[Decision], rewards: Sequence[Reward]) -> Log:
    """Return decisions as rounds over all their arms, users being the independent units.

    Raises:
        InvalidRounds: there are none, or more than can be held.
    """
    known: dict[str, int] = {}
    for decision in decisions:
        for arm in decision.arms:
            known.setdefault(arm, len(known))
    n, k = len(decisions), len(known)
    if n == 0:
        raise InvalidRounds("there are no decisions to judge on")
    if n * k > _MOST_CELLS:
        raise InvalidRounds(f"{n} rounds of {k} arms are more than is held at once")
    logged = np.zeros((n, k))
    for row, decision in enumerate(decisions):
        logged[row, [known[arm] for arm in decision.arms]] = decision.probabilities
    values = np.array([one.earned for one in rewards])
    return Log(
        actions=tuple(known),
        action=np.array([known[one.arm] for one in decisions], dtype=np.intp),
        rewards=values,
        propensities=np.array([one.propensity for one in decisions]),
        logged_dist=logged,
        owners=np.unique([one.user_id for one in decisions], return_inverse=True)[1],
        moments=np.array([one.decided_at.replace(tzinfo=None) for one in decisions], dtype="datetime64[us]"),
        low=min(bounds.low, float(values.min())),
        high=max(bounds.high, float(values.max())),
        declared=True,
    )


def drawn_by(
    connection: Connection, policy: str, bounds: Bounds, after: int, since: datetime, until: datetime
) -> Drawn:
    """Return what a policy drew between two moments, whichever its version; fallbacks and holdouts are out.

    Args:
        after: only rewards with a greater `seq`.

    Raises:
        InvalidRounds: it drew nothing that is known of, or more than can be held.
    """
    recalls = recalled_spans(connection)
    decisions: list[Decision] = []
    rewards: list[Reward] = []
    position = after
    while matured := repository.rewards_after(connection, position, limit=_PAGE):
        position = matured[-1][0]
        ids = [
            one.decision_id
            for _, _, one in matured
            if one.policy.partition("@")[0] == policy and since < one.decided_at < until
        ]
        records = repository.decisions(connection, ids, with_recalled=True)
        latest = repository.rewards_of(connection, ids)
        for one in ids:
            decision = records.get(one)
            if decision is None or decision.fallback is not None or decision.holdout or decision.test:
                continue
            if not concerned(recalls, decision):
                decisions.append(decision)
                rewards.append(latest[one])
    return Drawn(log_of(bounds, decisions, rewards), Counter(one.policy for one in decisions))
