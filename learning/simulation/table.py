"""Full-feedback tables: what is known of each round, and what every arm would have earned in it."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiences.rules.source import closest
from learning.errors import UnreadableTable
from learning.evaluation.log import reward_range
from learning.evaluation.logs.columns import Columns
from learning.evaluation.logs.files import CSV, columns_of
from learning.evaluation.logs.rounds import CONTEXT, context_of
from learning.evaluation.rounds import FloatArray

REWARD = "reward."
# More arms than a draw may have, and tables that no memory holds.
_MOST_ARMS = 256
_MOST_COLUMNS = 10_000
_MOST_CELLS = 200_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """n rounds: `context` (n, d), `rewards` (n, k) of the arms named `arms`, all within [low, high]."""

    name: str
    arms: tuple[str, ...]
    context: FloatArray
    rewards: FloatArray
    low: float
    high: float

    def __len__(self) -> int:
        return len(self.rewards)


def read_table(path: Path) -> Table:
    """Return the table in a CSV or Parquet file with the columns `context.<name>` and `reward.<arm>`.

    Columns of few texts become one column for each text but the first.

    Raises:
        UnreadableLog: the file is not there, empty, or of another kind.
        UnreadableTable: columns are missing or misspelt, a cell is no finite number, or there is nothing to
            choose or to learn; which, where, and what to write.
    """
    name = str(path)
    _check_width(path)
    columns = columns_of(path)
    contexts, rewards = _named(columns, name)
    if columns.rows == 0:
        raise UnreadableTable(f"{name} has no rounds")
    if len(contexts) + len(rewards) > _MOST_COLUMNS:
        raise UnreadableTable(
            f"{name} has {len(contexts) + len(rewards):,} columns, and models of a round's context take "
            f"{_MOST_COLUMNS:,}; leave out what tells little"
        )
    if columns.rows * (len(contexts) + len(rewards)) > _MOST_CELLS:
        raise UnreadableTable(
            f"{name} has {columns.rows:,} rounds of {len(contexts) + len(rewards):,} columns, more than is "
            "held at once; simulate on a part of it"
        )
    table = np.column_stack([columns.numbers(one) for one in rewards])
    context = context_of(columns, contexts)
    if columns.wrong:
        first = min(columns.wrong.values(), key=lambda one: one.row)
        raise UnreadableTable(
            f"{name}: {len(columns.wrong)} of {columns.rows} rows are wrong, the first: {first}; every cell "
            "has to be known, or what an arm would have earned is not"
        )
    if context is None:
        context = np.empty((columns.rows, 0))
    return of_arrays(name, tuple(one.removeprefix(REWARD) for one in rewards), context, table)


def of_arrays(name: str, arms: tuple[str, ...], context: FloatArray, rewards: FloatArray) -> Table:
    """Return the table of arrays: context (n, d), rewards (n, k).

    Raises:
        UnreadableTable: there is nothing to choose or to learn.
    """
    if len(arms) < 2:
        raise UnreadableTable(f"{name} has one arm only, {arms[0]!r}: there is nothing to choose")
    if len(arms) > _MOST_ARMS:
        raise UnreadableTable(f"{name} has {len(arms)} arms, and at most {_MOST_ARMS} take part in a draw")
    if (rewards == rewards[:, :1]).all():
        value = rewards[0, 0]
        same = (
            f"every arm earns {value:g} in every round"
            if (rewards == value).all()
            else "all arms earn the same"
        )
        raise UnreadableTable(f"{name}: {same}, so no policy is better than another")
    low, high = reward_range(rewards)
    return Table(name, arms, context, rewards, low, high)


def _check_width(path: Path) -> None:
    """Refuse a CSV file of very many columns before it is read: pandas would take minutes."""
    if not path.is_file() or not path.name.lower().endswith(CSV):
        return
    try:
        with path.open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(".gz") else raw
            width = file.readline().count(b",") + 1
    except (OSError, EOFError, zlib.error):
        # What is wrong with it is told by who reads it.
        return
    if width > _MOST_COLUMNS:
        raise UnreadableTable(
            f"{path} has {width:,} columns, and models of a round's context take {_MOST_COLUMNS:,}; leave "
            "out what tells little"
        )


def _named(columns: Columns, name: str) -> tuple[list[str], list[str]]:
    contexts = [one for one in columns.names if one.startswith(CONTEXT)]
    rewards = [one for one in columns.names if one.startswith(REWARD)]
    for one in columns.names:
        if one in (CONTEXT, REWARD):
            raise UnreadableTable(f"{name} has a column {one!r} without a name after the dot")
        if not one.startswith((CONTEXT, REWARD)):
            meant = closest(one.partition(".")[0], [CONTEXT[:-1], REWARD[:-1]])
            raise UnreadableTable(
                f"{name} has a column {one!r}{': ' + meant if meant else ''}; what is known of a round is "
                f"{CONTEXT}<name>, what an arm would have earned is {REWARD}<arm>"
            )
    if not rewards:
        raise UnreadableTable(
            f"{name} has no column {REWARD}<arm>; a table of full feedback says for every arm what it would "
            f"have earned; it has {', '.join(columns.names[:20]) or 'no columns'}"
        )
    return contexts, rewards
