"""Comparisons with a constant, made on a column as it is kept: the narrower the values, the faster.

A constant is turned into one of the column's own type such that the comparison answers the same for
every value of that type; where there is no such constant, all or none of the values compare so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiences.rules.column_terms import Array, Chunk, ColumnTerms, is_floating
from audiences.rules.columns import Moments, Numbers
from audiences.rules.forms import Among, Entry, Holds, Missing
from audiences.rules.packing import Bits, pack
from audiences.rules.tree import MICROSECONDS_A_DAY, Call, Name, Node, Ordering

Answer = Callable[[Chunk], Bits]

FEW = 8  # up to so many constants, comparing with each is faster than a look-up
_SECOND = 1_000_000
_EARLIEST, _LATEST = -(1 << 63) + 1, (1 << 63) - 1  # microseconds that a timestamp can be
_UFUNCS: dict[Ordering, Callable[[Array, Any], Array]] = {
    "=": np.equal,
    "<>": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


@dataclass(frozen=True, slots=True)
class Cut:
    """`value ordering constant`, the constant being of the column's type; or of all, `always`."""

    ordering: Ordering
    constant: Any
    always: bool | None = None


class Cuts:
    """Answers in packed bits to those entries that compare one column with constants."""

    def __init__(self, terms: ColumnTerms) -> None:
        self._terms = terms

    def answer(self, entry: Entry) -> Answer | None:
        """A function from a chunk to its bits; None where the entry is of another kind."""
        match entry:
            case Holds(ordering, Name() as of, right) if is_floating(of):
                constant = self._terms.constant(right)
                return None if constant is None else self._compared(of, ordering, constant)
            case Holds(ordering, Call("days_since", (Name() as of,)), right):
                return self._aged(of, ordering, right)
            case Among(Name() as of, options, inside) if is_floating(of) and len(options) <= FEW:
                return self._among(of, options, inside)
            case Missing(Name() as of) if is_floating(of):
                return self._missing(of)
        return None

    def _compared(self, of: Name, ordering: Ordering, constant: float | int) -> Answer:
        column = self._terms.column(of)
        if constant != constant:  # noqa: PLR0124 - NaN alone differs from itself
            return _none
        return _apply(column, _cut(column, ordering, constant))

    def _among(self, of: Name, options: tuple[float | str | int, ...], inside: bool) -> Answer:
        column = self._terms.column(of)
        hits = [self._compared(of, "=", option) for option in options if not isinstance(option, str)]
        known = _known(column)

        def answer(chunk: Chunk) -> Bits:
            found = _none(chunk)
            for hit in hits:
                found |= hit(chunk)
            return found if inside else ~found & known(chunk)

        return answer

    def _missing(self, of: Name) -> Answer:
        known = _known(self._terms.column(of))
        return lambda chunk: ~known(chunk)

    def _aged(self, of: Name, ordering: Ordering, right: Node) -> Answer | None:
        """The age of a timestamp falls as the timestamp grows: find where it passes the constant."""
        days = self._terms.constant(right)
        if days is None or ordering in {"=", "<>"}:
            return None
        if days != days:  # noqa: PLR0124
            return _none
        now = self._terms.now
        strict = ordering in {"<", ">="}

        def passed(moment: int) -> bool:
            age = float(now - moment) / float(MICROSECONDS_A_DAY)
            return age < days if strict else age <= days

        low, high = _EARLIEST, _LATEST
        while low < high:
            middle = (low + high) // 2
            if passed(middle):
                high = middle
            else:
                low = middle + 1
        return self._compared(of, ">=" if ordering in {"<", "<="} else "<", low)


def _cut(column: Numbers | Moments, ordering: Ordering, constant: float | int) -> Cut:
    kind = column.values.dtype
    if kind.kind == "M":
        return Cut(ordering, np.datetime64(int(constant), "us"))
    if isinstance(column, Moments):
        whole, rest = divmod(int(constant), _SECOND)
        return _of_integers(kind, ordering, whole, whole + (rest > 0))
    if kind.kind == "i":
        if math.isinf(constant):
            beyond = (np.iinfo(kind).max + 1) if constant > 0 else (np.iinfo(kind).min - 1)
            return _of_integers(kind, ordering, beyond, beyond)
        return _of_integers(kind, ordering, math.floor(constant), math.ceil(constant))
    return (
        Cut(ordering, np.float64(constant)) if kind == np.float64 else _of_halves(ordering, float(constant))
    )


def _of_integers(kind: np.dtype[Any], ordering: Ordering, floor: int, ceiling: int) -> Cut:
    """For integers, x < 2.5 is x < 3, and x <= 2.5 is x <= 2; out of their range all or none compare so."""
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    exact = floor == ceiling
    if ordering in {"=", "<>"}:
        if exact and low <= floor <= high:
            return Cut(ordering, kind.type(floor))
        return Cut(ordering, None, ordering == "<>")
    bound = ceiling if ordering in {"<", ">="} else floor
    if bound > high:
        return Cut(ordering, None, ordering in {"<", "<="})
    if bound < low:
        return Cut(ordering, None, ordering in {">", ">="})
    return Cut(ordering, kind.type(bound))


def _of_halves(ordering: Ordering, constant: float) -> Cut:
    """For float32, the nearest of them to the constant, and whether it is below or above."""
    with np.errstate(over="ignore"):
        nearest = np.float32(constant)
    if float(nearest) == constant:
        return Cut(ordering, nearest)
    if ordering in {"=", "<>"}:
        return Cut(ordering, None, ordering == "<>")
    above = float(nearest) > constant
    if ordering in {"<", "<="}:
        return Cut("<" if above else "<=", nearest)
    return Cut(">=" if above else ">", nearest)


def _apply(column: Numbers | Moments, cut: Cut) -> Answer:
    if cut.always is not None:
        return _known(column) if cut.always else _none
    values, valid, compare, constant = column.values, column.valid, _UFUNCS[cut.ordering], cut.constant
    if valid is not None:
        return lambda chunk: pack(compare(values[chunk.rows], constant)) & valid[chunk.bytes]
    if cut.ordering == "<>" and values.dtype.kind != "i":
        # NaN and NaT differ from everything, but unknown is not different.
        return lambda chunk: pack(
            np.less(values[chunk.rows], constant) | np.greater(values[chunk.rows], constant)
        )
    return lambda chunk: pack(compare(values[chunk.rows], constant))


def _known(column: Numbers | Moments) -> Answer:
    values, valid = column.values, column.valid
    if valid is not None:
        return lambda chunk: valid[chunk.bytes]
    if values.dtype.kind == "i":
        return lambda chunk: np.full((len(chunk) + 7) // 8, 255, dtype=np.uint8)
    return lambda chunk: pack(np.equal(values[chunk.rows], values[chunk.rows]))


def _none(chunk: Chunk) -> Bits:
    return np.zeros((len(chunk) + 7) // 8, dtype=np.uint8)
