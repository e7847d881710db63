"""Logs to learn from, of every kind that can be evaluated on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from learning.errors import UnreadableLog
from learning.evaluation.log import Log
from learning.evaluation.logs import decision_log, dsjson, files, open_bandit, read_log
from learning.evaluation.logs.columns import Columns
from learning.evaluation.logs.rounds import CONTEXT, log_of, rounds_of
from learning.offline.rounds import FloatArray, LoggedRounds

# Where dsjson keeps what is known of each action and not of the round.
_ACTIONS = "_multi"


def is_ledger(path: Path) -> bool:
    """Whether a path is a folder of a service and not of a log."""
    return path.is_dir() and not (path / open_bandit.ITEMS).is_file()


def read_rounds(path: Path) -> LoggedRounds:
    """Return the rounds of a log; its name or what lies in it says of which kind it is.

    Numbers known of a round are its columns `context.<name>`; of an exported decision its features, with
    their names; of dsjson what its context tells outside of `_multi`, by the names of its fields. Texts and
    lists are no numbers, and of a folder of the Open Bandit Dataset nothing is read but its log.

    Raises:
        UnreadableLog: it can't be read as a log, too much of it is wrong, or a context column has texts.
    """
    if (path / open_bandit.ITEMS).is_file():
        return LoggedRounds(open_bandit.read(path), {})
    lines = path.is_file() and path.name.lower().endswith(dsjson.SUFFIXES)
    if lines and not decision_log.is_json(path):
        log, contexts = dsjson.read_contexts(path)
        return _of_each(log, {row: dict(_numbers(one)) for row, one in enumerate(contexts, 1)})
    if lines:
        return _decisions(path)
    columns = files.columns_of(path)
    return _decisions(path) if set(columns.names) >= decision_log.MARKS else _by_columns(columns, path)


def _decisions(path: Path) -> LoggedRounds:
    return _of_each(read_log(path), {row: one.features for row, one in decision_log.decisions(path)})


def _by_columns(columns: Columns, path: Path) -> LoggedRounds:
    names = [name for name in columns.names if name.startswith(CONTEXT) and not columns.listed(name)]
    for name in names:
        if columns.categories(name) is not None:
            raise UnreadableLog(f"{path}: the column {name} has texts; a specification's scalars are numbers")
    read = Columns({name: columns.cells(name) for name in names}, columns.rows)
    values = {name.removeprefix(CONTEXT): read.numbers(name) for name in names}
    log = log_of(columns, str(path))
    good = rounds_of(columns, log)
    return LoggedRounds(log, {name: numbers[good] for name, numbers in values.items()})


def _of_each(log: Log, known: Mapping[int, Mapping[str, Any]]) -> LoggedRounds:
    """Return rounds of which what is known comes by their rows, those that were refused among them."""
    refused = {one.row for one in log.refused}
    good = [one for row, one in known.items() if row not in refused]
    numbers = [{name: value for name, value in one.items() if _is_number(value)} for one in good]
    names = dict.fromkeys(name for one in numbers for name in one)
    scalars: dict[str, FloatArray] = {
        name: np.array([one.get(name, np.nan) for one in numbers], dtype=np.float64) for name in names
    }
    return LoggedRounds(log, scalars, None if log.logged_dist is None else log.logged_dist > 0)


def _numbers(context: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a context, however deep they lie, but those of actions."""
    for name, value in context.items():
        if name == _ACTIONS:
            continue
        if isinstance(value, dict):
            yield from _numbers(value)
        elif isinstance(value, list):
            yield from _each(value)
        else:
            yield name, value


def _each(values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of objects in a list, as VW's namespaces may be written."""
    for value in values:
        if isinstance(value, dict):
            yield from _numbers(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
