"""What numbers come out of values of users and arms, and out of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning.errors import FeaturesMismatch
from learning.feature_kinds import Transform
from playbooks.models import Arm

FloatArray = NDArray[np.float64]

# The sign is kept, so that a negative value is no error and order is preserved.
FUNCTIONS: dict[Transform, Callable[[FloatArray], FloatArray]] = {
    "raw": lambda x: x,
    "sqrt": lambda x: np.copysign(np.sqrt(np.abs(x)), x),
    "log1p": lambda x: np.copysign(np.log1p(np.abs(x)), x),
}


def picked(name: str, arrays: Sequence[Any], places: Sequence[int], width: int) -> FloatArray:
    """Return of each array the number at its place; the place `width` is nowhere."""
    for value in arrays:
        if value is not None and (not isinstance(value, list | tuple) or len(value) != width):
            raise FeaturesMismatch(
                f"the feature {name!r} must be an array of {width} numbers, one for each name"
            )
    cells = [
        None if value is None or place == width else value[place]
        for value, place in zip(arrays, places, strict=True)
    ]
    return numbers_of(name, cells)


def numbers_of(name: str, values: Sequence[Any]) -> FloatArray:
    """Return numbers of many users, NaN for null."""
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FeaturesMismatch(f"the feature {name!r} must be made of numbers: {error}") from error
    if found.shape != (len(values),):
        raise FeaturesMismatch(f"the feature {name!r} must be made of numbers, not of arrays")
    return found


def numbers_of_each(names: Sequence[str], values: Sequence[Sequence[Any] | None], users: int) -> FloatArray:
    """Return numbers of many users by several names, shape (users, names), NaN for null.

    Args:
        values: by name, each user's; None where there are none.
    """
    told = [[None] * users if some is None else some for some in values]
    try:
        found = np.array(told, dtype=np.float64)
    except (TypeError, ValueError):
        found = None
    if found is None or found.shape != (len(names), users):
        # By itself each says whether it is at fault.
        found = np.array([numbers_of(name, some) for name, some in zip(names, told, strict=True)])
    return found.T


def told_of(arm: Arm, attribute: str) -> float:
    """Return an attribute as a number, NaN where it is none."""
    try:
        return float(arm.attributes.get(attribute, "nan"))
    except ValueError:
        return np.nan


def times(left: Sequence[int], right: Sequence[int], columns: FloatArray) -> FloatArray:
    """Return products of k pairs of columns, (…, columns, n) → (…, k, n)."""
    product: FloatArray = columns[..., left, :] * columns[..., right, :]
    return product


def summed(weights: Mapping[int, float], least: float, columns: FloatArray) -> FloatArray:
    """Return a weighted sum of columns, at least `least`, (…, columns, n) → (…, 1, n)."""
    # One after the other, so that a row comes out the same among many and alone.
    total = sum(weight * columns[..., [row], :] for row, weight in weights.items())
    return np.maximum(total, least)


def fill(rows: FloatArray, name: str, values: Sequence[Any] | None) -> None:
    """Fill an array feature of many users, shape (users, names); null stays as it is.

    Args:
        values: each user's, or all of them as one array; None where there are none.

    Raises:
        FeaturesMismatch: a value of another kind or an array of another length.
    """
    if values is None:
        return
    known: list[int] | slice = slice(None)
    if not isinstance(values, np.ndarray) and any(value is None for value in values):
        known = [place for place, value in enumerate(values) if value is not None]
        values = [values[place] for place in known]
    if len(values) == 0:
        return
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FeaturesMismatch(f"the feature {name!r} must be an array of numbers: {error}") from error
    if array.shape[1:] != rows.shape[1:]:
        raise FeaturesMismatch(
            f"the feature {name!r} has shape {array.shape[1:]}, its vocabulary has {rows.shape[-1]} names"
        )
    rows[known] = array
