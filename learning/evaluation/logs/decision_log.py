"""Our own decision log as it was exported (`nextplay decisions export`): Parquet, or a JSON record a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from learning.errors import UnreadableLog
from learning.evaluation.log import Log
from learning.evaluation.logs.columns import Columns
from learning.evaluation.logs.files import PARQUET
from learning.evaluation.logs.rounds import ACTION, LOGGED_DIST, MOMENT, PSCORE, REWARD, ROUND, USER, log_of
from playbooks.decision import Decision

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
# Maps, which Parquet has as JSON text.
_TEXTS = frozenset({"features", "levers", "uses", "suppressed", "pilots"})
# Decisions of a Parquet file that are read at a time.
_BATCH = 1_000
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


def is_export(path: Path) -> bool:
    """Whether a file is an export of decisions, Parquet or JSON lines."""
    if not path.name.lower().endswith(PARQUET):
        return is_json(path)
    import pyarrow.parquet as pq  # noqa: PLC0415 - a second, for files of this kind only

    return set(pq.read_schema(path).names) >= MARKS


def read_json(path: Path) -> Log:
    """Return the log in exported JSON lines.

    Raises:
        UnreadableLog: as `of_columns`, or a line is no record.
    """
    rows = list(_json_rows(path))
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
    nothing: Sequence[Any] = [None] * len(cells["reward"])
    told = zip(cells["reward"], cells.get("fallback", nothing), cells.get("holdout", nothing), strict=True)
    kept = [row for row, one in enumerate(told) if _is_round(*one)]
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
    log = log_of(columns, name)
    # Rows are those of the file, of which not every one is a round.
    refused = tuple(msgspec.structs.replace(one, row=kept[one.row - 1] + 1) for one in log.refused)
    return replace(log, actions=tuple(arms), refused=refused)


def decisions(path: Path) -> Iterator[tuple[int, Decision]]:
    """Yield the exported decisions that are rounds, each with its row, counted from 1.

    Raises:
        UnreadableLog: a row is no record of a decision, or was exported without what one is made of.
    """
    rows = _parquet_rows(path) if path.name.lower().endswith(PARQUET) else _json_rows(path)
    for number, row in enumerate(rows, 1):
        if not _is_round(row.get("reward"), row.get("fallback"), row.get("holdout")):
            continue
        try:
            yield number, msgspec.convert(row, Decision)
        except msgspec.ValidationError as error:
            raise UnreadableLog(f"{path}, row {number}: no exported decision: {error}") from error


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield msgspec.json.decode(line, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise UnreadableLog(f"{path}, line {number}: no exported decision: {error}") from error


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - a second, for files of this kind only

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            for row in batch.to_pylist():
                yield {
                    name: msgspec.json.decode(value) if name in _TEXTS and value is not None else value
                    for name, value in row.items()
                }


def _is_round(reward: float | None, fallback: str | None, holdout: Sequence[str] | None) -> bool:
    """Whether a reward is known of a decision that a policy drew and that no holdout kept anything from."""
    return reward is not None and not fallback and not holdout
