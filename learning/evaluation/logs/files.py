"""Parquet and CSV files as columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning.errors import UnreadableLog
from learning.evaluation.logs.columns import Columns

CSV = (".csv", ".csv.gz")
PARQUET = (".parquet",)


def columns_of(path: Path) -> Columns:
    """Return the columns of a CSV or Parquet file.

    Raises:
        UnreadableLog: it is not there, empty, or of another kind.
    """
    if not path.is_file():
        raise UnreadableLog(f"there is no file {path}")
    if path.stat().st_size == 0:
        raise UnreadableLog(f"{path} is empty; a log needs the columns action, reward, pscore and rounds")
    if path.name.lower().endswith(PARQUET):
        return _parquet(path)
    if path.name.lower().endswith(CSV):
        return _csv(path)
    raise UnreadableLog(f"{path.name}: the name must end in {', '.join((*PARQUET, *CSV))}")


def _parquet(path: Path) -> Columns:
    import pyarrow as pa  # noqa: PLC0415 - a second, for files of this kind only
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableLog(f"{path} is no Parquet file: {error}") from error
    names = table.column_names
    return Columns({name: _cells(table.column(name)) for name in names}, table.num_rows)


def _cells(column: Any) -> NDArray[Any] | list[Any]:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        values = pc.list_flatten(column)
        numeric = pa.types.is_floating(values.type) or pa.types.is_integer(values.type)
        if numeric and len(lengths) == 1 and lengths[0] and not values.null_count:
            flat: NDArray[Any] = values.to_numpy()
            return flat.reshape(len(column), lengths[0])
    elif (pa.types.is_floating(kind) or pa.types.is_integer(kind)) and not column.null_count:
        numbers: NDArray[Any] = column.to_numpy()
        return numbers
    cells: list[Any] = column.to_pylist()
    return cells


def _csv(path: Path) -> Columns:
    import pandas as pd  # noqa: PLC0415 - a second, for files of this kind only

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError, EOFError) as error:
        raise UnreadableLog(f"{path} can't be read as CSV: {str(error).strip()}") from error
    cells: dict[str, list[Any]] = {}
    for name in frame.columns:
        cells[str(name)] = frame[name].tolist()
    return Columns(cells, len(frame))


def distributions(path: Path) -> NDArray[np.float64]:
    """Return the column `action_dist` of a file, shape (rows, actions).

    Raises:
        UnreadableLog: there is none, or a row of it is no probability distribution.
    """
    from learning.evaluation.logs.rounds import ACTION_DIST, check_distributions  # noqa: PLC0415 - it reads these

    columns = columns_of(path)
    if ACTION_DIST not in columns:
        raise UnreadableLog(f"{path} has no column {ACTION_DIST}, it has {', '.join(columns.names[:20])}")
    table = columns.lists(ACTION_DIST)
    check_distributions(columns, ACTION_DIST, table)
    if columns.wrong:
        raise UnreadableLog(f"{path}: {min(columns.wrong.values(), key=lambda one: one.row)}")
    return table
