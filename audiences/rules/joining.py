"""Columns of several shares of the users, put one after the other in the narrowest type that holds all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from audiences.rules.columns import Column, Columns, Flags, Lists, Moments, Nothing, Numbers, Texts
from audiences.rules.errors import RuleValueError
from audiences.rules.packing import Bits, Mask, pack
from audiences.rules.schema import Type

_OF = {Numbers: Type.NUMBER, Moments: Type.TIMESTAMP, Flags: Type.BOOL, Texts: Type.TEXT}


def joined(shares: Sequence[Columns]) -> Columns:
    """All rows of some columns, in their order. Raises RuleValueError where names or types differ."""
    if len(shares) == 1:
        return shares[0]
    length = sum(share.length for share in shares)
    names = {name: None for share in shares for name in share.columns}
    columns = {name: _joined(name, shares) for name in names}
    return Columns(
        length,
        columns,
        tags={
            name: _members(shares, [share.tags.get(name) for share in shares]) for name in _of(shares, "tags")
        },
        audiences={
            name: _members(shares, [share.audiences.get(name) for share in shares])
            for name in _of(shares, "audiences")
        },
    )


def cut(columns: Columns, start: int, stop: int) -> Columns:
    """The rows from `start` (a multiple of 8) to `stop`."""
    rows, held = slice(start, stop), slice(start // 8, (stop + 7) // 8)
    length = stop - start
    return Columns(
        length,
        {name: _cut(column, rows, held) for name, column in columns.columns.items()},
        tags={name: _ended(bits[held], length) for name, bits in columns.tags.items()},
        audiences={name: _ended(bits[held], length) for name, bits in columns.audiences.items()},
    )


def _cut(column: Column, rows: slice, held: slice) -> Column:
    length = rows.stop - rows.start
    match column:
        case Numbers(values, valid):
            return Numbers(values[rows], None if valid is None else _ended(valid[held], length))
        case Moments(values, valid):
            return Moments(values[rows], None if valid is None else _ended(valid[held], length))
        case Texts(codes, dictionary):
            return Texts(codes[rows], dictionary)
        case Flags(true, false):
            return Flags(_ended(true[held], length), _ended(false[held], length), length)
        case Lists(offsets, items, valid):
            # Items are shared by all rows, so offsets stay as they are.
            return Lists(offsets[rows.start : rows.stop + 1], items, valid[rows])
        case _:
            return Nothing(length)


def _ended(bits: Bits, length: int) -> Bits:
    """Bits of some rows, those past the last of them 0."""
    if length % 8:
        bits = bits.copy()
        bits[-1] &= (1 << length % 8) - 1
    return bits


def _of(shares: Sequence[Columns], what: str) -> list[str]:
    return list(dict.fromkeys(name for share in shares for name in getattr(share, what)))


def _members(shares: Sequence[Columns], rows: Sequence[Bits | None]) -> Mask:
    return np.concatenate(
        [
            np.zeros(share.length, dtype=np.bool_)
            if bits is None
            else np.unpackbits(bits, count=share.length, bitorder="little").view(np.bool_)
            for share, bits in zip(shares, rows, strict=True)
        ]
    )


def _joined(name: str, shares: Sequence[Columns]) -> Column:
    lacking = next((share for share in shares if name not in share.columns), None)
    if lacking is not None:
        raise RuleValueError(f'the column "{name}" is missing in a share of the users')
    known = [share.columns[name] for share in shares if not isinstance(share.columns[name], Nothing)]
    if not known:
        return Nothing(sum(share.length for share in shares))
    first = known[0]
    if isinstance(first, Lists):
        kind = Type.NUMBERS if isinstance(first.items, Numbers) else Type.TEXTS
    else:
        kind = _OF[type(first)]
    return _MAKERS[type(first)]([share.typed(name, kind) for share in shares])


def _numbers(parts: Sequence[Column]) -> Numbers:
    columns = cast(Sequence[Numbers], parts)
    if all(column.values.dtype.kind == "i" for column in columns):
        return Numbers(np.concatenate([column.values for column in columns]), _valid(columns))
    return Numbers.of(np.concatenate([column.wide(slice(0, len(column))) for column in columns]))


def _moments(parts: Sequence[Column]) -> Moments:
    columns = cast(Sequence[Moments], parts)
    if all(column.in_seconds for column in columns):
        return Moments(np.concatenate([column.values for column in columns]), _valid(columns))
    return Moments.of(np.concatenate([column.wide(slice(0, len(column))) for column in columns]))


def _valid(columns: Sequence[Numbers] | Sequence[Moments]) -> Bits | None:
    if all(column.valid is None for column in columns):
        return None
    return pack(
        np.concatenate(
            [
                np.ones(len(column), dtype=np.bool_)
                if column.valid is None
                else np.unpackbits(column.valid, count=len(column), bitorder="little").view(np.bool_)
                for column in columns
            ]
        )
    )


def _flags(parts: Sequence[Column]) -> Flags:
    columns = cast(Sequence[Flags], parts)
    true, false = (
        pack(
            np.concatenate(
                [
                    np.unpackbits(bits, count=len(column), bitorder="little").view(np.bool_)
                    for column, bits in zip(columns, side, strict=True)
                ]
            )
        )
        for side in ([column.true for column in columns], [column.false for column in columns])
    )
    return Flags(true, false, sum(map(len, columns)))


def _texts(parts: Sequence[Column]) -> Texts:
    columns = cast(Sequence[Texts], parts)
    places: dict[str, int] = {}
    codes = [
        # A missing text has the code -1, which is the last place.
        np.asarray([*(places.setdefault(text, len(places)) for text in column.dictionary), -1])[column.codes]
        for column in columns
    ]
    return Texts.coded(np.concatenate(codes), list(places))


def _lists(parts: Sequence[Column]) -> Lists:
    columns = cast(Sequence[Lists], parts)
    shifts = np.cumsum([0, *(len(column.items) for column in columns)])
    ends = [column.offsets[1:] + shift for column, shift in zip(columns, shifts[:-1], strict=True)]
    items: Sequence[Column] = [column.items for column in columns]
    made = _numbers(items) if isinstance(items[0], Numbers) else _texts(items)
    return Lists(
        np.concatenate([np.zeros(1, dtype=np.int64), *ends]),
        made,
        np.concatenate([column.valid for column in columns]),
    )


_MAKERS: Mapping[type, Callable[[Sequence[Column]], Column]] = {
    Numbers: _numbers,
    Moments: _moments,
    Flags: _flags,
    Texts: _texts,
    Lists: _lists,
}
