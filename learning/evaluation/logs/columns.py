"""Columns of a file, as numbers or lists of numbers; a cell that is neither is remembered with its row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from learning.evaluation.log import Refused
from learning.evaluation.rounds import FloatArray

_MISSING = "there is no value"
_SHOWN = 40


class Columns:
    """Named columns of n cells each, and what is wrong in them."""

    def __init__(self, cells: Mapping[str, Sequence[Any] | NDArray[Any]], rows: int) -> None:
        self._cells = cells
        self.rows = rows
        self.names = list(cells)
        self.wrong: dict[int, Refused] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._cells

    def cells(self, name: str) -> Sequence[Any] | NDArray[Any]:
        """Return a column as it was read."""
        return self._cells[name]

    def refuse(self, row: int, column: str, why: str) -> None:
        """Remember that a row, counted from 0, is wrong; the first thing that is wrong is told."""
        self.wrong.setdefault(row, Refused(row + 1, column, why))

    def refuse_where(
        self, bad: NDArray[np.bool_] | np.bool_, column: str, why: str, values: Any = None
    ) -> None:
        """Remember rows that are wrong; `why` may name the row's value as {}."""
        for row in np.flatnonzero(bad).tolist():
            self.refuse(row, column, why if values is None else why.format(_short(values[row])))

    def good(self) -> NDArray[np.bool_]:
        """Return which rows nothing is wrong with."""
        good = np.ones(self.rows, dtype=np.bool_)
        good[list(self.wrong)] = False
        return good

    def numbers(self, name: str) -> FloatArray:
        """Return a column of finite numbers; NaN where a row is refused."""
        cells = self._cells[name]
        if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiub":
            found = cells.astype(np.float64)
        else:
            found = np.array([_number(cell) for cell in cells], dtype=np.float64)
        for row in np.flatnonzero(~np.isfinite(found)).tolist():
            cell = cells[row]
            self.refuse(row, name, _MISSING if _missing(cell) else f"{_short(cell)} is not a finite number")
        return np.where(np.isfinite(found), found, np.nan)

    def texts(self, name: str) -> list[str]:
        """Return a column as text; "" where a row is refused because there is nothing."""
        found = []
        for row, cell in enumerate(self._cells[name]):
            if _missing(cell):
                self.refuse(row, name, _MISSING)
                found.append("")
            else:
                found.append(_label(cell))
        return found

    def categories(self, name: str) -> list[str] | None:
        """Return a column's texts where it is one of few names, None where it is of numbers.

        One cell that can't be a number does not make names of all: most have to be none.
        """
        cells = self._cells[name]
        if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiub":
            return None
        named = sum(not _missing(one) and math.isnan(_number(one)) for one in cells)
        if named <= self.rows / 2:
            return None
        return ["" if _missing(one) else str(one) for one in cells]

    def listed(self, name: str) -> bool:
        """Say whether a column is of lists, by the first cell that has a value."""
        cells = self._cells[name]
        if isinstance(cells, np.ndarray):
            return cells.ndim == 2
        first = next((one for one in cells if not _missing(one)), None)
        return isinstance(first, list) or (isinstance(first, str) and first.lstrip().startswith("["))

    def lists(self, name: str) -> FloatArray:
        """Return a column of equally long lists of numbers, shape (n, k); zeros where a row is refused."""
        cells = self._cells[name]
        if isinstance(cells, np.ndarray) and cells.ndim == 2:
            found = cells.astype(np.float64)
            self.refuse_where(~np.isfinite(found).all(axis=1), name, "it has what is not a finite number")
            return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)
        rows = [self._list(row, name, cell) for row, cell in enumerate(cells)]
        lengths = [len(one) for one in rows if one is not None]
        # The length that most rows have is the one that is meant.
        width = max(set(lengths), key=lengths.count) if lengths else 0
        table = np.zeros((self.rows, width))
        for row, one in enumerate(rows):
            if one is None:
                continue
            if len(one) != width:
                self.refuse(row, name, f"it has {len(one)} numbers, where others have {width}")
            else:
                table[row] = one
        return table

    def _list(self, row: int, name: str, cell: Any) -> list[float] | None:
        if _missing(cell):
            self.refuse(row, name, _MISSING)
            return None
        try:
            values = msgspec.json.decode(cell) if isinstance(cell, str | bytes) else list(cell)
        except (msgspec.DecodeError, TypeError):
            values = None
        if not isinstance(values, list) or not all(math.isfinite(_number(one)) for one in values):
            self.refuse(row, name, f"{_short(cell)} is not a list of numbers")
            return None
        return [_number(one) for one in values]


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan


def _missing(cell: Any) -> bool:
    return (
        cell is None
        or (isinstance(cell, str) and not cell.strip())
        or (isinstance(cell, float) and math.isnan(cell))
    )


def _label(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def _short(cell: Any) -> str:
    text = repr(cell) if isinstance(cell, str) else str(cell)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
