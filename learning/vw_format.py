"""How rows are written for VW, and what the service and VW's process tell each other.

Nothing here imports VW: it lives in its own process only (`learning/vw_worker.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# All columns are in one namespace.
NAMESPACE = "x"
# VW keeps the intercept under this hash, cut to the size of the table like any other.
INTERCEPT_HASH = 11_650_396

_UNSAFE = re.compile(rb"[^A-Za-z0-9_.=*/-]")


class Start(msgspec.Struct, tag=True, frozen=True):
    """Begin a fold: from `state`, or from the prior weights when there is none."""

    options: tuple[str, ...]
    bits: int
    names: tuple[str, ...]
    state: bytes | None
    weights: bytes
    intercept: float


class Learn(msgspec.Struct, tag=True, frozen=True):
    """Learn these rows: little-endian doubles, the matrix row by row."""

    matrix: bytes
    targets: bytes
    importance: bytes


class Finish(msgspec.Struct, tag=True, frozen=True):
    """Give back what was learnt."""


class Merge(msgspec.Struct, tag=True, frozen=True):
    """Put together what states learnt, each on top of what the fold in progress began with."""

    states: tuple[bytes, ...]


class Done(msgspec.Struct, tag=True, frozen=True):
    """The last request was carried out."""


class Result(msgspec.Struct, tag=True, frozen=True):
    """State to go on from, and the weights as little-endian doubles, the intercept last."""

    state: bytes
    weights: bytes


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The last request can't be carried out, and why."""

    reason: str


Request = Start | Learn | Merge | Finish
Reply = Done | Result | Failed


def escaped(name: str) -> str:
    """Return a column's name as VW takes it: one word, never a number, different names staying different.

    `|`, `:`, blanks and line ends would end the name or the example, and a name of digits alone is
    hashed as the number it spells. Bytes of UTF-8 that could do harm become %XX, `%` among them.

    >>> escaped("category=FD WRAPS/BAGS")
    'n.category=FD%20WRAPS/BAGS'
    """
    return "n." + _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], name.encode()).decode()


def lines(
    names: Sequence[str], matrix: FloatArray, targets: FloatArray, importance: FloatArray
) -> Iterator[str]:
    """Yield examples in VW's text format, of a matrix (n, len(names)) and (n,) targets and importances.

    `names` are escaped. Nine digits carry a 32-bit float whole; what is 0 is left out.

    >>> list(lines(["n.a", "n.b"], np.array([[0.5, 0.0], [1.0, 2.0]]), np.array([1.0, 0.0]), np.ones(2)))
    ['1 1 |x n.a:0.5', '0 1 |x n.a n.b:2']
    """
    rows, columns = np.nonzero(matrix)
    cells = [
        names[column] if value == 1.0 else f"{names[column]}:{value:.9g}"
        for column, value in zip(columns.tolist(), matrix[rows, columns].tolist(), strict=True)
    ]
    ends = np.searchsorted(rows, np.arange(len(matrix)), side="right").tolist()
    start = 0
    for target, weight, end in zip(targets.tolist(), importance.tolist(), ends, strict=True):
        yield f"{target:.9g} {weight:.9g} |{NAMESPACE} {' '.join(cells[start:end])}"
        start = end
