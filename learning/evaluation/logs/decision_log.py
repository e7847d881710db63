"""Our own decision log as it was exported (`nextplay decisions export`): Parquet, or a JSON record a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from learning.errors import UnreadableLog
from learning.evaluation.log import Log
from learning.evaluation.logs.columns import Columns
from learning.evaluation.logs.rounds import ACTION, LOGGED_DIST, MOMENT, PSCORE, REWARD, ROUND, USER, log_of

# What an exported decision has, and no other log.
MARKS = frozenset({"decision_id", "propensity", "arms", "probabilities"})
_CELLS = (
    "decision_id",
    "user_id",
    "decided_at",
    "arm",
    "arms",
    "probabilities",
    "chosen",
    "propensity",
    "reward",
)
# Cells of the table of vectors: 1 GB.
_MOST_CELLS = 128_000_000


def is_json(path: Path) -> bool:
    """Whether a file's first line is an exported decision."""
    with path.open("rb") as file:
        first = file.readline()
    try:
        return msgspec.json.decode(first, type=dict[str, Any]).keys() >= MARKS
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def read_json(path: Path) -> Log:
    """Return the log in exported JSON lines.

    Raises:
        UnreadableLog: as `of_columns`, or a line is no record.
    """
    rows = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                rows.append(msgspec.json.decode(line, type=dict[str, Any]))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise UnreadableLog(f"{path}, line {number}: no exported decision: {error}") from error
    names = (*_CELLS, "fallback", "holdout")
    return of_columns({name: [row.get(name) for row in rows] for name in names}, str(path))


def of_columns(cells: Mapping[str, Sequence[Any] | NDArray[Any]], name: str) -> Log:
    """Return the log in exported decisions, actions being arms and users the independent units.

    Decisions whose reward is not known yet, that no policy drew (fallbacks), or that left users of a holdout
    out, are no rounds; one whose arm found no room left counts as it was meant.

    Raises:
        UnreadableLog: no decision is left, or too many arms to hold.
    """
    if "chosen" not in cells:
        raise UnreadableLog(f"{name} was exported without the column chosen; export it anew")
    fallbacks, holdouts = cells.get("fallback"), cells.get("holdout")
    kept = [
        row
        for row, reward in enumerate(cells["reward"])
        if reward is not None
        and not (fallbacks and fallbacks[row])
        and not (holdouts is not None and holdouts[row])
    ]
    if not kept:
        raise UnreadableLog(f"{name}: of no decision is the reward known; export it when windows have closed")
    arms: dict[str, int] = {}
    for row in kept:
        for arm in cells["arms"][row]:
            arms.setdefault(arm, len(arms))
    if len(kept) * len(arms) > _MOST_CELLS:
        raise UnreadableLog(
            f"{name}: {len(kept)} decisions of {len(arms)} arms are more than is held at once"
        )
    dist = np.zeros((len(kept), len(arms)))
    for place, row in enumerate(kept):
        dist[place, [arms[arm] for arm in cells["arms"][row]]] = cells["probabilities"][row]
    columns = Columns(
        {
            ACTION: [arms[cells["arms"][row][cells["chosen"][row]]] for row in kept],
            REWARD: [cells["reward"][row] for row in kept],
            PSCORE: [cells["propensity"][row] for row in kept],
            ROUND: [cells["decision_id"][row] for row in kept],
            USER: [cells["user_id"][row] for row in kept],
            MOMENT: [str(cells["decided_at"][row]) for row in kept],
            LOGGED_DIST: dist,
        },
        len(kept),
    )
    return replace(log_of(columns, name), actions=tuple(arms))
