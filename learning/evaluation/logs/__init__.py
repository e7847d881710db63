"""Logs in files: Parquet and CSV rounds, our exported decisions, the Open Bandit Dataset, VW's dsjson."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from learning.errors import UnreadableLog
from learning.evaluation.log import Log
from learning.evaluation.logs import decision_log, dsjson, files, open_bandit
from learning.evaluation.logs.columns import Columns
from learning.evaluation.logs.files import distributions
from learning.evaluation.logs.rounds import log_of

__all__ = ["columns_of_rows", "distributions", "log_of_rows", "read_log"]


def read_log(path: Path) -> Log:
    """Return the log at a path; its name or what lies in it says of which kind it is.

    Raises:
        UnreadableLog: it can't be read, or too much of it is wrong; the message names row and column.
    """
    if path.is_dir():
        if (path / open_bandit.ITEMS).is_file():
            return open_bandit.read(path)
        raise UnreadableLog(
            f"{path} is no log: neither a service's folder (nextplay.db) nor one of the Open Bandit Dataset "
            f"({open_bandit.ITEMS})"
        )
    if path.is_file() and path.name.lower().endswith(dsjson.SUFFIXES):
        return decision_log.read_json(path) if decision_log.is_json(path) else dsjson.read(path)
    columns = files.columns_of(path)
    if set(columns.names) >= decision_log.MARKS:
        return decision_log.of_columns({name: columns.cells(name) for name in columns.names}, str(path))
    return log_of(columns, str(path))


def log_of_rows(rows: Sequence[Mapping[str, Any]]) -> Log:
    """Return the log in rounds that were sent as objects.

    Raises:
        UnreadableLog: as `read_log`.
    """
    return log_of(columns_of_rows(rows), "rounds")


def columns_of_rows(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Return rounds that were sent as objects by column; what a round does not have is None."""
    names = dict.fromkeys(name for row in rows for name in row)
    return Columns({name: [row.get(name) for row in rows] for name in names}, len(rows))
