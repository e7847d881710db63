"""Folders of the Open Bandit Dataset: `item_context.csv` beside the log of one campaign, as in obd/bts/all.

Saito, Aihara, Matsutani and Narita, "Open Bandit Dataset and Pipeline" (NeurIPS 2021).
"""

from __future__ import annotations

from pathlib import Path

from learning.errors import UnreadableLog
from learning.evaluation.log import Log
from learning.evaluation.logs.columns import Columns
from learning.evaluation.logs.files import columns_of
from learning.evaluation.logs.rounds import ACTION, CONTEXT, MOMENT, PSCORE, REWARD, log_of

ITEMS = "item_context.csv"
_NAMES = {"item_id": ACTION, "click": REWARD, "propensity_score": PSCORE, "timestamp": MOMENT}
_FEATURES = "user_feature_"
_POSITION = "position"


def read(folder: Path) -> Log:
    """Return the log of a campaign's folder; the context is the user's features and the position.

    Raises:
        UnreadableLog: there is not one log in the folder, or it lacks a column.
    """
    logs = sorted(one for one in folder.glob("*.csv") if one.name != ITEMS)
    if len(logs) != 1:
        raise UnreadableLog(
            f"{folder} must hold one log beside {ITEMS}, as obd/bts/all does; it has "
            f"{', '.join(one.name for one in logs) or 'none'}"
        )
    columns = columns_of(logs[0])
    if missing := [name for name in _NAMES if name not in columns]:
        raise UnreadableLog(f"{logs[0]} has no column {', '.join(missing)} of the Open Bandit Dataset")
    cells = {ours: columns.cells(theirs) for theirs, ours in _NAMES.items()}
    for name in columns.names:
        if name.startswith(_FEATURES):
            cells[CONTEXT + name] = columns.cells(name)
    if _POSITION in columns:
        # A place, not an amount.
        cells[CONTEXT + _POSITION] = [f"place {one}" for one in columns.cells(_POSITION)]
    return log_of(Columns(cells, columns.rows), str(logs[0]))
