"""Values of rules over columns: computed chunk by chunk, each distinct one once a chunk.

Numbers and timestamps are arrays with NaN and NaT where missing. A text is a whole column of codes:
functions of text work on its dictionary, so their cost is that of the distinct texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from audiences.rules import casing
from audiences.rules.columns import Columns, Lists, Moments, Numbers, Texts
from audiences.rules.schema import Type
from audiences.rules.tree import (
    MICROSECONDS_A_DAY,
    Arithmetic,
    Call,
    Literal,
    Name,
    Negative,
    Node,
    Now,
    Shift,
    children,
    type_of,
)

Array = NDArray[Any]
Read = Callable[["Chunk"], Array]

_OPERATORS: dict[str, Callable[[Array, Array], Array]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": lambda left, right: np.where(right == 0, np.nan, np.divide(left, right)),
    "%": np.fmod,
}
_CASES = {"lower": casing.lower, "upper": casing.upper}


class Chunk:
    """Rows `start` to `stop`, and the values computed for them so far."""

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self.rows = slice(start, stop)
        self.bytes = slice(start // 8, (stop + 7) // 8)
        self._found: dict[int, Array] = {}

    def __len__(self) -> int:
        return self.stop - self.start

    def once(self, read: Read) -> Array:
        """What `read` gives for this chunk, computed the first time only."""
        found = self._found.get(id(read))
        if found is None:
            found = self._found[id(read)] = read(self)
        return found


class ColumnTerms:
    """Readers of values by node; equal nodes share a reader."""

    def __init__(self, columns: Columns, now: int | None) -> None:
        self._columns = columns
        self.now = 0 if now is None else now
        self._now: Array = np.asarray(np.datetime64(self.now, "us"))
        self._reads: dict[Node, Read] = {}
        self._texts: dict[Node, Texts] = {}
        self._places: dict[Node, dict[str, list[int]]] = {}

    def read(self, node: Node) -> Read:
        """Reader of a number or timestamp: an array of a chunk's length, or a scalar for a constant."""
        found = self._reads.get(node)
        if found is None:
            made = self._make(node)
            found = self._reads[node] = lambda chunk: chunk.once(made)
        return found

    def column(self, name: Name) -> Numbers | Moments:
        """The column of a number or timestamp, as it is kept."""
        return cast(Numbers | Moments, self._columns.typed(name.name, name.type))

    def constant(self, node: Node) -> float | int | None:
        """A number, or microseconds since 1970, where a node is the same for all users; else None."""
        if isinstance(node, Literal) and isinstance(node.value, float):
            return node.value
        pending = [node]
        while pending:
            part = pending.pop()
            if isinstance(part, Name) or type_of(part) is Type.TEXT:
                return None
            pending += children(part)
        with np.errstate(all="ignore"):
            found = self.read(node)(Chunk(0, 0))
        if found.dtype.kind == "M":
            return math.nan if np.isnat(found) else int(found.astype("datetime64[us]").astype(np.int64))
        return float(found)

    def texts(self, node: Node) -> Texts:
        """Codes and dictionary of a text over all rows."""
        found = self._texts.get(node)
        if found is None:
            found = self._texts[node] = self._make_texts(node)
        return found

    def places(self, node: Node) -> dict[str, list[int]]:
        """The codes of every distinct text of a node's dictionary."""
        found = self._places.get(node)
        if found is None:
            found = self._places[node] = {}
            for code, text in enumerate(self.texts(node).dictionary):
                found.setdefault(text, []).append(code)
        return found

    def lists(self, node: Node) -> Lists:
        """The list column of a name."""
        name = cast(Name, node)
        return cast(Lists, self._columns.typed(name.name, name.type))

    def _make(self, node: Node) -> Read:
        match node:
            case Name():
                column = self.column(node)
                return lambda chunk: column.wide(chunk.rows)
            case Literal() | Now():
                constant = self._constant(node)
                return lambda chunk: constant
            case Negative(of):
                inner = self.read(of)
                return lambda chunk: np.negative(inner(chunk))
            case Shift(of, microseconds):
                inner, step = self.read(of), np.timedelta64(microseconds, "us")
                return lambda chunk: inner(chunk) + step
            case Arithmetic(operator, left, right):
                first, second, apply = self.read(left), self.read(right), _OPERATORS[operator]
                return lambda chunk: apply(first(chunk), second(chunk))
            case Call():
                return self._call(node)
        raise AssertionError(f"{node!r} is no value")

    def _constant(self, node: Literal | Now) -> Array:
        if isinstance(node, Now):
            return self._now
        if node.type is Type.TIMESTAMP:
            return np.asarray(np.datetime64("NaT" if node.value is None else int(node.value), "us"))
        return np.asarray(np.nan if node.value is None else node.value, dtype=np.float64)

    def _call(self, node: Call) -> Read:
        if node.function == "length":
            return self._length(self.texts(node.arguments[0]))
        reads = [self.read(argument) for argument in node.arguments]
        first = reads[0]
        match node.function:
            case "abs":
                return lambda chunk: np.abs(first(chunk))
            case "days_since":
                day = np.timedelta64(MICROSECONDS_A_DAY, "us")
                return lambda chunk: np.divide(np.subtract(self._now, first(chunk)), day)
            case "round":
                digits = [argument.value for argument in node.arguments[1:] if isinstance(argument, Literal)]
                places = int(digits[0] or 0) if digits else 0
                return lambda chunk: _rounded(first(chunk), places)
            case "coalesce":
                return lambda chunk: reduce(_or_else, (read(chunk) for read in reads))
        choose = np.fmin if node.function == "least" else np.fmax
        return lambda chunk: reduce(choose, (read(chunk) for read in reads))

    def _length(self, texts: Texts) -> Read:
        lengths = np.asarray([*map(float, map(len, texts.dictionary)), np.nan])
        return lambda chunk: lengths[texts.codes[chunk.rows]]

    def _make_texts(self, node: Node) -> Texts:
        match node:
            case Name(name, kind):
                return cast(Texts, self._columns.typed(name, kind))
            case Literal(value):
                code = np.int8(-1 if value is None else 0)
                codes = np.broadcast_to(code, (self._columns.length,))
                return Texts(codes, [] if value is None else [str(value)])
            case Call("lower" | "upper" as function, (argument,)):
                texts = self.texts(argument)
                return Texts(texts.codes, list(map(_CASES[function], texts.dictionary)))
            case Call(function, arguments):
                return _chosen(function, [self.texts(argument) for argument in arguments])
        raise AssertionError(f"{node!r} is no text")


def ranks(columns: Sequence[Texts]) -> tuple[list[str], list[NDArray[np.int64]]]:
    """The sorted distinct texts of some columns, and each column's rows as places in them, -1 if missing."""
    order = sorted({text for column in columns for text in column.dictionary})
    places = {text: place for place, text in enumerate(order)}
    tables = (np.asarray([*(places[text] for text in column.dictionary), -1]) for column in columns)
    return order, [table[column.codes] for table, column in zip(tables, columns, strict=True)]


def _chosen(function: str, columns: list[Texts]) -> Texts:
    order, places = ranks(columns)
    match function:
        case "coalesce":
            chosen = reduce(lambda first, second: np.where(first < 0, second, first), places)
        case "greatest":
            chosen = reduce(np.maximum, places)
        case _:
            # Missing must lose, so it goes past the last place and comes back.
            beyond = [np.where(place < 0, len(order), place) for place in places]
            least = reduce(np.minimum, beyond)
            chosen = np.where(least == len(order), -1, least)
    return Texts.coded(chosen, order)


def _or_else(first: Array, second: Array) -> Array:
    return np.where(np.equal(first, first), first, second)


def _rounded(values: Array, digits: int) -> Array:
    scale = 10.0 ** abs(digits)
    scaled = values * scale if digits >= 0 else values / scale
    whole = np.trunc(scaled)
    whole = whole + np.where(np.abs(scaled - whole) >= 0.5, np.copysign(1.0, scaled), 0.0)
    return np.where(np.isfinite(scaled), whole / scale if digits >= 0 else whole * scale, values)


def is_floating(node: Node) -> bool:
    """Whether a node is a number or a timestamp, which are computed chunk by chunk."""
    return type_of(node) in {Type.NUMBER, Type.TIMESTAMP}
