"""How users move through a lifecycle, given for whom each rule holds; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audiences.stages.definitions import Lifecycle


class Move(NamedTuple):
    """The user in row `row` goes from one stage to another because rule number `rule` holds."""

    row: int
    before: str
    after: str
    rule: int


def moves(
    lifecycle: Lifecycle, standing: Sequence[str], holds: Sequence[npt.NDArray[np.bool_]]
) -> list[Move]:
    """Return all moves of one evaluation, a user's in the order they are made.

    A user goes on as long as a rule holds, but comes to no stage twice, so the evaluation ends.

    Args:
        standing: the stage of each user (rows).
        holds: for each rule of the lifecycle, for which rows it is true.
    """
    stages = lifecycle.stages
    number = {stage: place for place, stage in enumerate(stages)}
    # Users in a stage that the lifecycle no longer has begin anew.
    start = number[lifecycle.spec.start]
    at = np.array([number.get(stage, start) for stage in standing], np.int32)
    rows = np.arange(len(at))
    visited = np.zeros((len(at), len(stages)), bool)
    visited[rows, at] = True
    found: list[Move] = []
    while rows.size:
        moved: list[npt.NDArray[np.int64]] = []
        for stage, ways in lifecycle.ways.items():
            here = rows[at[rows] == number[stage]]
            for rule, after in ways:
                if not here.size:
                    break
                goes = holds[rule][here] & ~visited[here, number[after]]
                going = here[goes]
                found += [Move(int(row), stage, after, rule) for row in going]
                # Not into `at` yet: who moves now is looked at again in the next round only.
                moved.append(np.stack([going, np.full(going.size, number[after])]))
                here = here[~goes]
        pairs = np.concatenate(moved, axis=1) if moved else np.empty((2, 0), np.int64)
        rows = pairs[0]
        at[rows] = pairs[1]
        visited[rows, pairs[1]] = True
    return found
