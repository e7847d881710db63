"""Arrow tables as columns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from audiences.rules.columns import Column, Flags, Lists, Moments, Nothing, Numbers, Texts
from audiences.rules.errors import RuleValueError


def columns_of(table: pa.Table | Mapping[str, pa.Array]) -> tuple[int, dict[str, Column]]:
    """Number of rows and columns of a table. Raises RuleValueError for types no rule knows."""
    if not isinstance(table, pa.Table):
        table = pa.table(dict(table))
    return table.num_rows, {name: _column(name, _whole(table[name])) for name in table.column_names}


def _whole(chunked: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(chunked.type):
        chunked = chunked.unify_dictionaries()
    return chunked.combine_chunks() if chunked.num_chunks != 1 else chunked.chunk(0)


def _column(name: str, array: pa.Array) -> Column:
    kind = array.type
    types = pa.types
    if types.is_null(kind):
        return Nothing(len(array))
    if types.is_boolean(kind):
        return Flags.of(pc.fill_null(array, False).to_numpy(zero_copy_only=False), _valid(array))
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return _numbers(array)
    if types.is_timestamp(kind) or types.is_date(kind):
        return _moments(array)
    if _is_text(kind):
        return _texts(array)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists(name, array)
    raise RuleValueError(f'the column "{name}" is {kind}, which no rule can use')


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    plain = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(plain) or types.is_large_string(plain) or types.is_string_view(plain))


def _valid(array: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    valid: np.ndarray[tuple[int], np.dtype[np.bool_]] = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _numbers(array: pa.Array) -> Numbers:
    if pa.types.is_integer(array.type):
        valid = None if array.null_count == 0 else _valid(array)
        return Numbers.of(pc.fill_null(array, 0).to_numpy(zero_copy_only=False), valid)
    return Numbers.of(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def _moments(array: pa.Array) -> Moments:
    micros = array.cast(pa.timestamp("us", tz=getattr(array.type, "tz", None)), safe=False).cast(pa.int64())
    valid = None if array.null_count == 0 else _valid(array)
    return Moments.of(pc.fill_null(micros, 0).to_numpy(zero_copy_only=False), valid)


def _texts(array: pa.Array) -> Texts:
    coded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    codes = pc.fill_null(coded.indices, -1) if coded.null_count else coded.indices
    texts = coded.dictionary.to_pylist()
    codes = codes.to_numpy(zero_copy_only=False).astype(np.int64)
    if None in texts:
        # A missing text may be an entry of the dictionary too; the last place stands for -1.
        codes = np.asarray([-1 if text is None else place for place, text in enumerate(texts)] + [-1])[codes]
        texts = ["" if text is None else text for text in texts]
    return Texts.coded(codes, texts)


def _lists(name: str, array: pa.Array) -> Lists:
    item = array.type.value_type
    if array.offset:
        # Offsets of a slice don't begin at 0, and what joins lists takes it that they do.
        array = array.take(pa.array(np.arange(len(array))))
    rows = array.cast(pa.large_list(item))
    items = _column(name, rows.values)
    if isinstance(items, Nothing):
        items = Numbers(np.full(len(items), np.nan, dtype=np.float32))
    if not isinstance(items, Numbers | Texts):
        raise RuleValueError(f'the column "{name}" is a list of {item}, which no rule can use')
    return Lists(rows.offsets.to_numpy(), items, _valid(array))
