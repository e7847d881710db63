"""Turns the values of a column, as events carry them, into Arrow; what does not fit becomes null."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import accumulate, chain
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.schema import ARROW_TYPES, Column, Scalar

# Types Arrow takes for a column as they are; it would also take True for 1.0 and cut 1.5 to 1.
EXACT: dict[Scalar, frozenset[type]] = {
    "text": frozenset({str, NoneType}),
    "float": frozenset({float, int, NoneType}),
    "int": frozenset({int, NoneType}),
    "bool": frozenset({bool, NoneType}),
    "time": frozenset({NoneType}),
}


FLOAT32_MAX = float(np.finfo(np.float32).max)


def dense_array(values: npt.NDArray[Any], nothing: float) -> npt.NDArray[np.float32]:
    """Numbers as an array feature has them: NaN becomes `nothing`, what is too large the largest there is."""
    # NaN is at most nothing, so that it takes the slow way too.
    if not bool((np.abs(values) <= FLOAT32_MAX).all()):
        values = np.nan_to_num(values, nan=nothing, posinf=FLOAT32_MAX, neginf=-FLOAT32_MAX)
        values = np.clip(values, -FLOAT32_MAX, FLOAT32_MAX)
    return values.astype(np.float32)


def column_array(values: Sequence[Any], column: Column) -> tuple[pa.Array, int]:
    """Arrow array of the values and the number of those, at any depth, that did not fit and became null.

    Numbers are never made of text or booleans, a whole float fits an int column, a time may be ISO 8601
    text. NaN and infinities fit nothing.
    """
    if isinstance(column, str):
        return _scalars(values, column)
    lists = [value if isinstance(value, list | tuple) else None for value in values]
    nulled = sum(a is not None and b is None for a, b in zip(values, lists, strict=True))
    flat = list(chain.from_iterable(value for value in lists if value is not None))
    element = column[0]
    elements, misfits = _scalars(flat, element) if isinstance(element, str) else _structs(flat, element)
    ends = list(accumulate(len(value) if value is not None else 0 for value in lists))
    offsets = pa.array([0, *ends], pa.int32())
    mask = pa.array([value is None for value in lists], pa.bool_())
    return pa.ListArray.from_arrays(offsets, elements, mask=mask), nulled + misfits


def _structs(values: Sequence[Any], fields: dict[str, Scalar]) -> tuple[pa.Array, int]:
    structs = [value if isinstance(value, dict) else None for value in values]
    nulled = sum(a is not None and b is None for a, b in zip(values, structs, strict=True))
    arrays = []
    for name, kind in fields.items():
        array, misfits = _scalars([v.get(name) if v is not None else None for v in structs], kind)
        arrays.append(array)
        nulled += misfits
    mask = pa.array([value is None for value in structs], pa.bool_())
    types = [pa.field(name, ARROW_TYPES[kind]) for name, kind in fields.items()]
    return pa.StructArray.from_arrays(arrays, fields=types, mask=mask), nulled


def _scalars(values: Sequence[Any], kind: Scalar) -> tuple[pa.Array, int]:
    nulled = 0
    if set(map(type, values)) <= EXACT[kind]:
        try:
            array = pa.array(values, ARROW_TYPES[kind])
        # An integer of more than 64 bits, or half of a surrogate pair.
        except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
            array, nulled = _fitted(values, kind)
    else:
        array, nulled = _fitted(values, kind)
    if kind == "float":
        unusable = pc.invert(pc.is_finite(array))
        count = pc.sum(unusable).as_py() or 0
        if count:
            return pc.if_else(unusable, pa.scalar(None, array.type), array), nulled + count
    return array, nulled


def _fitted(values: Sequence[Any], kind: Scalar) -> tuple[pa.Array, int]:
    fit = FITS[kind]
    fitted = [fit(value) for value in values]
    misfits = sum(a is not None and b is None for a, b in zip(values, fitted, strict=True))
    return pa.array(fitted, ARROW_TYPES[kind]), misfits


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    fits = number is not None and number.is_integer() and -(2**63) <= value < 2**63
    return int(value) if fits else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _time(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


FITS: dict[Scalar, Callable[[Any], Any]] = {
    "text": _text,
    "float": _number,
    "int": _whole,
    "bool": _boolean,
    "time": _time,
}
