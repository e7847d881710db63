"""Sums over rows, in a form that can be joined: what a measure needs of rows that need not be kept.

A sum is None where there was nothing. Without `by` its form is

    count, count_events       a number            mean                 (total, number)
    distinct                  the set of values   last, last_size      (time, sequence, value)
    sum                       a number            last_time, …_last    the latest time
    min, max                  a value             first_time, …_first  the earliest time

With `by` it is {position: number or time}, and for distinct the set of (position, value).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from feature_repo.incremental.plan import Asked
from feature_repo.incremental.rows import NULL, Array, Rows

LATEST = frozenset({"last_time", "days_since_last", "weeks_since_last"})
EARLIEST = frozenset({"first_time", "days_since_first"})
ADDED = frozenset({"count", "count_events", "sum"})


def chosen(asked: Asked, rows: Rows) -> Rows:
    """The rows that a measure's filter lets through."""
    return rows if asked.bit is None else rows.part(np.flatnonzero((rows.masks >> asked.bit) & 1))


def column_of(asked: Asked, rows: Rows) -> Array | None:
    """The column a measure looks at."""
    return None if asked.column is None else rows.values[asked.column]


def present(values: Array) -> Array:
    """Places of values that are not null."""
    if values.dtype == object:
        return np.flatnonzero(values != np.array(None, object))
    return np.flatnonzero(~np.isnan(values) if values.dtype.kind == "f" else values != NULL)


def fold(asked: Asked, rows: Rows) -> Any:  # noqa: PLR0911 - one for each form
    """The sum of a measure over rows; see above."""
    rows = chosen(asked, rows)
    if not len(rows.times):
        return None
    if asked.grouping is not None:
        return _fold_by(asked, rows, rows.positions[asked.grouping])
    function = asked.measure.function
    if function == "count":
        return len(rows.times)
    if function == "count_events":
        return len(np.unique(rows.sequences))
    if function in LATEST:
        return int(rows.times[-1])
    if function in EARLIEST:
        return int(rows.times[0])
    values = column_of(asked, rows)
    assert values is not None  # noqa: S101 - the other functions have a column
    there = present(values)
    if not len(there):
        return None
    if function in ("last", "last_size"):
        place = there[-1]
        return int(rows.times[place]), int(rows.sequences[place]), values[place : place + 1].tolist()[0]
    known = values[there]
    if function == "distinct":
        return set(known.tolist())
    if function in ("min", "max"):
        return known.min().item() if function == "min" else known.max().item()
    # Integers are added as Python's, which do not overflow.
    total = float(known.sum()) if known.dtype.kind == "f" else sum(known.tolist())
    return total if function == "sum" else (total, len(known))


def _fold_by(asked: Asked, rows: Rows, positions: Array) -> Any:
    function = asked.measure.function
    grouped = np.flatnonzero(positions >= 0)
    rows, positions = rows.part(grouped), positions[grouped]
    values = column_of(asked, rows)
    if values is not None:
        there = present(values)
        values, positions = values[there], positions[there]
    if not len(positions):
        return None
    if function == "distinct":
        assert values is not None  # noqa: S101 - it has a column
        return set(zip(positions.tolist(), values.tolist(), strict=True))
    if function == "weeks_since_last":
        # In the order of time, so the latest of a position is what stays.
        return dict(zip(positions.tolist(), rows.times.tolist(), strict=True))
    found: dict[int, Any] = {}
    amounts: Any = values.tolist() if values is not None else [1] * len(positions)
    if function == "count_events":
        pairs = set(zip(positions.tolist(), rows.sequences.tolist(), strict=True))
        positions, amounts = np.array([position for position, _ in pairs]), [1] * len(pairs)
    for position, amount in zip(positions.tolist(), amounts, strict=True):
        found[position] = found.get(position, 0) + amount
    return found


def join(asked: Asked, one: Any, other: Any) -> Any:  # noqa: PLR0911 - one for each form
    """The sum over the rows of both."""
    if one is None or other is None:
        return other if one is None else one
    function = asked.measure.function
    if function == "distinct":
        return one | other
    if asked.by is not None:
        joined = dict(one)
        for position, value in other.items():
            before = joined.get(position)
            joined[position] = (
                value if before is None else max(before, value) if function in LATEST else before + value
            )
        return joined
    if function in ADDED:
        return one + other
    if function == "mean":
        return one[0] + other[0], one[1] + other[1]
    if function in EARLIEST or function == "min":
        return min(one, other)
    if function in ("last", "last_size"):
        return one if one[:2] > other[:2] else other
    return max(one, other)
