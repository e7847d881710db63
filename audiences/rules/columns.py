"""Many users as columns: the values `compile_columns` computes with.

A row is a user. Numbers and timestamps are kept in the narrowest type that holds them exactly, since
reading them is what costs; text is codes into a dictionary, -1 where missing; conditions are two bit
sets, true and false. Bits are packed in little order everywhere: row i is bit i % 8 of byte i // 8, and
bits past the last row are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiences.rules.errors import RuleValueError
from audiences.rules.packing import Bits, Mask, pack, unpacked
from audiences.rules.schema import Type

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGERS: tuple[type[np.signedinteger[Any]], ...] = (np.int8, np.int16, np.int32)
_SECOND = 1_000_000  # microseconds


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """float64 or float32, NaN where missing; or int8, int16 or int32, missing where a bit of `valid` is 0."""

    values: NDArray[Any]
    valid: Bits | None = None

    @classmethod
    def of(cls, values: ArrayLike, valid: Mask | None = None) -> Numbers:
        """From any numbers, missing where `valid` is false or the value is NaN."""
        given = np.asarray(values)
        if given.dtype.kind in "iu":
            narrowed = _whole(given, valid)
            if narrowed is not None:
                return cls(*narrowed)
        floats = _float(given)
        known = np.equal(floats, floats) if valid is None else valid & np.equal(floats, floats)
        narrowed = _whole(floats, None if known.all() else known)
        if narrowed is not None:
            return cls(*narrowed)
        missing_as_nan = floats if valid is None else np.where(valid, floats, np.nan)
        with np.errstate(over="ignore"):
            half = missing_as_nan.astype(np.float32)
        return cls(half if np.array_equal(half, missing_as_nan, equal_nan=True) else missing_as_nan)

    def wide(self, rows: slice) -> NDArray[np.float64]:
        """Some rows as float64, NaN where missing; `rows` begin at a multiple of 8."""
        found = self.values[rows].astype(np.float64, copy=False)
        if self.valid is not None:
            found[~unpacked(self.valid, rows, len(found))] = np.nan
        return found

    def present(self) -> Mask:
        """Which rows aren't missing."""
        if self.valid is not None:
            return unpacked(self.valid, slice(0, len(self)), len(self))
        present: Mask = np.equal(self.values, self.values)
        return present

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """datetime64[us] in UTC, NaT where missing; or int32 seconds since 1970, missing where `valid` is 0."""

    values: NDArray[Any]
    valid: Bits | None = None

    @classmethod
    def of(cls, values: ArrayLike, valid: Mask | None = None) -> Moments:
        """From datetime64 of any unit or int64 microseconds, missing where `valid` is false or NaT."""
        moments = np.asarray(values).astype("datetime64[us]")
        if valid is not None:
            moments = np.where(valid, moments, np.datetime64("NaT", "us"))
        known = ~np.isnat(moments)
        micros = np.where(known, moments, np.datetime64(0, "us")).astype(np.int64)
        seconds, rest = np.divmod(micros, _SECOND)
        if not rest.any():
            narrowed = _whole(seconds, None if known.all() else known, (np.int32,))
            if narrowed is not None:
                return cls(*narrowed)
        return cls(moments)

    @property
    def in_seconds(self) -> bool:
        """Whether `values` are whole seconds."""
        return self.values.dtype == np.int32

    def wide(self, rows: slice) -> NDArray[np.datetime64]:
        """Some rows as datetime64[us], NaT where missing; `rows` begin at a multiple of 8."""
        if not self.in_seconds:
            return self.values[rows]
        found = self.values[rows].astype("datetime64[s]").astype("datetime64[us]")
        if self.valid is not None:
            found[~unpacked(self.valid, rows, len(found))] = np.datetime64("NaT", "us")
        return found

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Flags:
    """Two packed bit sets: the rows that are true, and those that are false."""

    true: Bits
    false: Bits
    length: int

    @classmethod
    def of(cls, values: ArrayLike, valid: Mask | None = None) -> Flags:
        """From bools, missing where `valid` is false."""
        flags = np.asarray(values, dtype=np.bool_)
        known = np.ones(len(flags), dtype=np.bool_) if valid is None else valid
        return cls(pack(flags & known), pack(~flags & known), len(flags))

    def __len__(self) -> int:
        return self.length


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Codes into a dictionary, -1 where missing. Equal texts of the dictionary may have several codes."""

    codes: NDArray[np.signedinteger]
    dictionary: Sequence[str]

    @classmethod
    def of(cls, values: Iterable[str | None]) -> Texts:
        """From texts, None where missing."""
        places: dict[str, int] = {}
        codes = [-1 if text is None else places.setdefault(text, len(places)) for text in values]
        return cls.coded(np.asarray(codes, dtype=np.int32), list(places))

    @classmethod
    def coded(cls, codes: NDArray[np.integer], dictionary: Sequence[str]) -> Texts:
        """From integer codes, kept in the narrowest type: comparing bytes is the fastest."""
        narrow = next(kind for kind in (np.int8, np.int16, np.int32) if len(dictionary) <= np.iinfo(kind).max)
        return cls(codes.astype(narrow, copy=False), dictionary)

    def present(self) -> Mask:
        """Which rows aren't missing."""
        return self.codes >= 0

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Row i holds `items[offsets[i]:offsets[i + 1]]`, or nothing known where `valid` is false."""

    offsets: NDArray[np.int64]
    items: Numbers | Texts
    valid: Mask

    @classmethod
    def of(
        cls, rows: Sequence[Sequence[str | None] | None] | Sequence[Sequence[float | None] | None]
    ) -> Lists:
        """From lists of text or of numbers, None where missing."""
        flat = [item for row in rows if row is not None for item in row]
        offsets = np.cumsum([0, *(0 if row is None else len(row) for row in rows)], dtype=np.int64)
        valid = np.asarray([row is not None for row in rows], dtype=np.bool_)
        if any(isinstance(item, str) for item in flat):
            return cls(offsets, Texts.of(None if item is None else str(item) for item in flat), valid)
        values = [np.nan if item is None else float(item) for item in flat]
        return cls(offsets, Numbers.of(np.asarray(values, dtype=np.float64)), valid)

    def __len__(self) -> int:
        return len(self.valid)


@dataclass(frozen=True, slots=True, eq=False)
class Nothing:
    """A column of unknown type without a single value."""

    length: int

    def __len__(self) -> int:
        return self.length


Column = Numbers | Moments | Flags | Texts | Lists | Nothing


class Columns:
    """Features of many users by name, and who has which tag and is in which audience.

    `tags` and `audiences` are bool arrays or packed bits over the same rows; nobody has one that isn't given.
    Raises RuleValueError where lengths differ.
    """

    def __init__(
        self,
        length: int,
        columns: Mapping[str, Column],
        *,
        tags: Mapping[str, NDArray[np.bool_ | np.uint8]] | None = None,
        audiences: Mapping[str, NDArray[np.bool_ | np.uint8]] | None = None,
    ) -> None:
        for name, column in columns.items():
            if len(column) != length:
                raise RuleValueError(f'the column "{name}" has {len(column)} rows, the others {length}')
        self.length = length
        self.columns = dict(columns)
        self.tags = {name: _packed(name, rows, length) for name, rows in (tags or {}).items()}
        self.audiences = {name: _packed(name, rows, length) for name, rows in (audiences or {}).items()}

    @classmethod
    def from_arrow(
        cls,
        table: pa.Table | Mapping[str, pa.Array],
        *,
        tags: Mapping[str, NDArray[np.bool_ | np.uint8]] | None = None,
        audiences: Mapping[str, NDArray[np.bool_ | np.uint8]] | None = None,
    ) -> Columns:
        """From an Arrow table: numbers, text, bools, timestamps, dates, lists of text or of numbers.

        Raises RuleValueError for a column of another type.
        """
        from audiences.rules.arrow import columns_of  # noqa: PLC0415 - pyarrow is slow to import

        length, columns = columns_of(table)
        return cls(length, columns, tags=tags, audiences=audiences)

    @classmethod
    def joined(cls, shares: Sequence[Columns]) -> Columns:
        """The rows of several, one after the other. Raises RuleValueError where names or types differ."""
        from audiences.rules.joining import joined  # noqa: PLC0415 - it is made of columns itself

        return joined(shares)

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take (not the dictionaries of texts)."""
        bits = [*self.tags.values(), *self.audiences.values()]
        return sum(map(_bytes_of, self.columns.values())) + sum(row.nbytes for row in bits)

    def typed(self, name: str, kind: Type) -> Column:
        """The column of a feature of some type. Raises RuleValueError if it's missing or of another."""
        column = self.columns.get(name)
        if column is None:
            raise RuleValueError(f'the column "{name}" is missing, and a rule uses it')
        if isinstance(column, Nothing):
            return _EMPTY[kind](self.length)
        if isinstance(column, Lists) and kind.is_list and not np.any(column.items.present()):
            return Lists(column.offsets, _EMPTY_ITEMS[kind](len(column.items)), column.valid)
        found = (type(column), type(column.items) if isinstance(column, Lists) else None)
        if found != _KINDS[kind]:
            raise RuleValueError(f'the column "{name}" is {type(column).__name__}, and must be {kind.phrase}')
        return column


def _no_text(length: int) -> Texts:
    return Texts(np.full(length, -1, dtype=np.int8), [])


def _no_number(length: int) -> Numbers:
    return Numbers(np.full(length, np.nan, dtype=np.float32))


def _no_list(length: int, kind: Type) -> Lists:
    return Lists(
        np.zeros(length + 1, dtype=np.int64), _EMPTY_ITEMS[kind](0), np.zeros(length, dtype=np.bool_)
    )


_EMPTY_ITEMS: dict[Type, Callable[[int], Numbers | Texts]] = {Type.TEXTS: _no_text, Type.NUMBERS: _no_number}
_EMPTY: dict[Type, Callable[[int], Column]] = {
    Type.NUMBER: _no_number,
    Type.TEXT: _no_text,
    Type.BOOL: lambda length: Flags.of(np.zeros(length, dtype=np.bool_), np.zeros(length, dtype=np.bool_)),
    Type.TIMESTAMP: lambda length: Moments(np.full(length, np.datetime64("NaT", "us"))),
    Type.TEXTS: lambda length: _no_list(length, Type.TEXTS),
    Type.NUMBERS: lambda length: _no_list(length, Type.NUMBERS),
}
_KINDS: dict[Type, tuple[type, type | None]] = {
    Type.NUMBER: (Numbers, None),
    Type.TEXT: (Texts, None),
    Type.BOOL: (Flags, None),
    Type.TIMESTAMP: (Moments, None),
    Type.TEXTS: (Lists, Texts),
    Type.NUMBERS: (Lists, Numbers),
}


def _bytes_of(column: Column) -> int:
    match column:
        case Numbers(values, valid) | Moments(values, valid):
            return values.nbytes + (0 if valid is None else valid.nbytes)
        case Texts(codes):
            return codes.nbytes
        case Flags(true, false):
            return true.nbytes + false.nbytes
        case Lists(offsets, items, valid):
            return offsets.nbytes + _bytes_of(items) + valid.nbytes
        case _:
            return 0


def _packed(name: str, rows: NDArray[np.bool_ | np.uint8], length: int) -> Bits:
    bits = rows.view(np.uint8) if rows.dtype == np.uint8 else pack(rows.astype(np.bool_))
    fits = len(bits) == (length + 7) // 8 and (rows.dtype == np.uint8 or len(rows) == length)
    if not fits:
        raise RuleValueError(f'the rows of "{name}" are not {length} bools, nor as many bits')
    return bits


def _whole(
    values: NDArray[Any], valid: Mask | None, kinds: Sequence[type[np.signedinteger[Any]]] = _INTEGERS
) -> tuple[NDArray[Any], Bits | None] | None:
    """Values in the narrowest integer type that holds those that are valid, and the bits of these."""
    given = values if valid is None else np.where(valid, values, 0)
    low, high = (given.min(), given.max()) if len(given) else (0, 0)
    for kind in kinds:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            narrow = given.astype(kind)
            if given.dtype.kind == "f" and not np.array_equal(narrow, given):
                return None
            return narrow, None if valid is None or valid.all() else pack(valid)
    return None


def _float(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values).astype(np.float64, copy=False)
