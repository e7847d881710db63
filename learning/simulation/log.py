"""The rounds of a race as a log that `nextplay evaluate` and `nextplay train` read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from learning.errors import UnreadableLog
from learning.evaluation.logs.files import CSV, PARQUET
from learning.evaluation.logs.rounds import ACTION, CONTEXT, LOGGED_DIST, PSCORE, REWARD, ROUND
from learning.simulation.race import Rounds
from learning.simulation.table import Table


def log_file(path: Path, policy: str, several: bool) -> Path:
    """Return where a policy's rounds go: to the file that is named, or beside it under the policy's name.

    Raises:
        UnreadableLog: nothing could read a file of that name as a log, or there is one already.
    """
    suffix = next((one for one in (*PARQUET, *CSV) if path.name.lower().endswith(one)), None)
    if suffix is None:
        raise UnreadableLog(f"{path.name}: the name of a log must end in {', '.join((*PARQUET, *CSV))}")
    found = path.with_name(f"{path.name[: -len(suffix)]}.{policy}{suffix}") if several else path
    if found.exists():
        raise UnreadableLog(f"{found} is there already; name another file, or take it away first")
    return found


def _compression(path: Path) -> Literal["gzip"] | None:
    return "gzip" if path.name.lower().endswith(".gz") else None


def write_log(path: Path, table: Table, shuffles: Sequence[Rounds]) -> None:
    """Write one policy's rounds, those of all shuffles: actions are places of the arms, from 0."""
    import pandas as pd  # noqa: PLC0415 - a second, for those who want a log

    order = np.concatenate([one.order for one in shuffles])
    actions = np.concatenate([one.actions for one in shuffles])
    vectors = np.concatenate([one.vectors for one in shuffles])
    columns: dict[str, object] = {
        ROUND: [f"{one.shuffle}/{place}" for one in shuffles for place in range(len(one.order))],
        ACTION: actions,
        REWARD: np.concatenate([one.rewards for one in shuffles]),
        PSCORE: vectors[np.arange(len(actions)), actions],
        LOGGED_DIST: vectors.tolist(),
    }
    columns |= {f"{CONTEXT}x{place}": table.context[order, place] for place in range(table.context.shape[1])}
    frame = pd.DataFrame(columns)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        if path.name.lower().endswith(PARQUET):
            frame.to_parquet(unfinished, index=False)
        else:
            frame.to_csv(unfinished, index=False, compression=_compression(path))
        unfinished.replace(path)
    except OSError as error:
        raise UnreadableLog(f"can't write {path}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
