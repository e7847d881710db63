"""The kept rows of one user and source, as columns ordered by time, then by the order of recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from feature_repo.encoding import EPOCH
from feature_repo.incremental.plan import Kept, SourcePlan

Array = npt.NDArray[Any]
# A null among integers, booleans and times; among floats it is NaN, which no event's value is.
NULL = -(1 << 63)
# Of a time before the year -290308, which no event's time is either.
_TIME, _SEQUENCE, _POSITION = "<i8", "<i8", "<i4"
# A mask is as small as the number of filters lets it be.
_FILTERS_OF_A_BYTE = 8
_FIXED = 3


class Rows(NamedTuple):
    """Columns of equal length: times (µs since 1970), sequence numbers, masks of filters, then the rest.

    `positions` are places in a vocabulary, −1 for none, one array for each grouping of the plan; `values`
    one array for each of its columns: f8 with NaN for null, i8 with NULL, or objects with None for text.
    """

    times: Array
    sequences: Array
    masks: Array
    positions: tuple[Array, ...]
    values: tuple[Array, ...]

    def part(self, where: Any) -> Rows:
        """Some of the rows: a slice or an array of places."""
        return Rows(
            self.times[where],
            self.sequences[where],
            self.masks[where],
            tuple(one[where] for one in self.positions),
            tuple(one[where] for one in self.values),
        )


def make_rows(plan: SourcePlan, made: Sequence[tuple[int, int, tuple[Any, ...]]]) -> Rows:
    """Rows from (time, sequence, what `plan.take` gave), in any order."""
    columns: list[Any] = list(zip(*(row for _, _, row in made), strict=True))
    if not columns:
        columns = [() for _ in range(1 + len(plan.bys) + len(plan.columns))]
    first_value = 1 + len(plan.bys)
    rows = Rows(
        np.array([time for time, _, _ in made], _TIME),
        np.array([sequence for _, sequence, _ in made], _SEQUENCE),
        np.array(columns[0], _mask(plan)),
        tuple(np.array(one, _POSITION) for one in columns[1:first_value]),
        tuple(
            _values(one, kind) for one, kind in zip(columns[first_value:], plan.columns.values(), strict=True)
        ),
    )
    return _ordered(rows)


def merged(old: Rows, new: Rows) -> Rows:
    """Both, in order; within an event its elements keep theirs."""
    rows = Rows(
        np.concatenate((old.times, new.times)),
        np.concatenate((old.sequences, new.sequences)),
        np.concatenate((old.masks, new.masks)),
        tuple(np.concatenate(pair) for pair in zip(old.positions, new.positions, strict=True)),
        tuple(np.concatenate(pair) for pair in zip(old.values, new.values, strict=True)),
    )
    return (
        rows if not len(old.times) or not len(new.times) or old.times[-1] < new.times[0] else _ordered(rows)
    )


def encoded(rows: Rows) -> list[bytes | list[str | None]]:
    """Rows as what MessagePack takes, bytes wherever all values have one size."""
    return [one.tolist() if one.dtype == object else one.tobytes() for one in _all(rows)]


def decoded(plan: SourcePlan, kept: Sequence[bytes | list[str | None]]) -> Rows:
    """The inverse of `encoded`; the arrays are read-only."""
    ends = _FIXED + len(plan.bys)
    values = zip(kept[ends:], plan.columns.values(), strict=True)
    return Rows(
        np.frombuffer(kept[0], _TIME),  # type: ignore[arg-type]
        np.frombuffer(kept[1], _SEQUENCE),  # type: ignore[arg-type]
        np.frombuffer(kept[2], _mask(plan)),  # type: ignore[arg-type]
        tuple(np.frombuffer(one, _POSITION) for one in kept[_FIXED:ends]),  # type: ignore[arg-type]
        tuple(
            _objects(one)
            if isinstance(one, list)
            else np.frombuffer(one, "<f8" if kind == "float" else "<i8")
            for one, kind in values
        ),
    )


def _mask(plan: SourcePlan) -> str:
    return "<u1" if len(plan.filters) <= _FILTERS_OF_A_BYTE else "<u8"


def _all(rows: Rows) -> list[Array]:
    return [rows.times, rows.sequences, rows.masks, *rows.positions, *rows.values]


def _ordered(rows: Rows) -> Rows:
    if len(rows.times) < 2:
        return rows
    # Stable, so that the elements of one event, which have both in common, stay in their order.
    return rows.part(np.lexsort((rows.sequences, rows.times)))


def _values(values: Sequence[Any], kind: Kept) -> Array:
    if kind == "text":
        return _objects(values)
    if kind == "float":
        return np.array([np.nan if value is None else value for value in values], "<f8")
    if kind == "time":
        return np.array([NULL if value is None else microseconds(value) for value in values], "<i8")
    return np.array([NULL if value is None else int(value) for value in values], "<i8")


def _objects(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def microseconds(moment: Any) -> int:
    """µs since 1970 of an aware time, exactly."""
    delta = moment - EPOCH
    return int((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds)
