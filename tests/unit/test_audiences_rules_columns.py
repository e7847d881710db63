"""Rules over columns: packing, chunks, Arrow types, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from audiences.rules import (
    Columns,
    Flags,
    Lists,
    Moments,
    Numbers,
    RuleValueError,
    Schema,
    Texts,
    Type,
    compile_columns,
    members,
    parse,
)

SCHEMA = Schema(
    {
        "n": Type.NUMBER,
        "t": Type.TEXT,
        "b": Type.BOOL,
        "d": Type.TIMESTAMP,
        "ts": Type.TEXTS,
        "ns": Type.NUMBERS,
    }
)


def rows_of(columns: Columns, *texts: str) -> list[list[int]]:
    compiled = compile_columns([parse(text, SCHEMA) for text in texts])
    bits = compiled(columns, now=datetime(2026, 3, 1, tzinfo=UTC))
    return [members(row, columns.length).tolist() for row in bits]


def test_bits_are_little_and_padded_with_zeros() -> None:
    columns = Columns(11, {"n": Numbers.of(np.arange(11))})
    bits = compile_columns([parse(text, SCHEMA) for text in ("n = 0 OR n = 9", "TRUE", "n IS NOT NULL")])(
        columns
    )
    assert bits.dtype == np.uint8
    assert bits.tolist() == [[0b1, 0b10], [255, 0b111], [255, 0b111]]
    assert compile_columns([parse("TRUE", SCHEMA)])(Columns(0, {})).shape == (1, 0)
    assert compile_columns([])(columns).shape == (0, 2)


def test_chunks_and_threads_change_nothing() -> None:
    length = 3 * (1 << 16) + 5
    rng = np.random.default_rng(3)
    numbers = Numbers.of(rng.integers(0, 9, length), rng.random(length) < 0.9)
    texts = Texts.coded(rng.integers(-1, 40, length), [f"v{place}" for place in range(40)])
    items = Texts.coded(rng.integers(-1, 3, 2 * length), ["v1", "v2", "v3"])
    lists = Lists(np.arange(0, 2 * length + 1, 2), items, rng.random(length) < 0.9)
    tagged = rng.random(length) < 0.5
    columns = Columns(length, {"n": numbers, "t": texts, "ts": lists}, tags={"x": tagged})
    rules = [
        "n > 4 AND NOT t = 'v3'",
        "list_contains(ts, t)",
        "tag('x') AND n <> 3",
        "t LIKE 'v1%'",
        "n / n = 1",
    ]
    compiled = compile_columns([parse(text, SCHEMA) for text in rules])
    bits = compiled(columns)
    assert np.array_equal(bits, compiled(columns, threads=2))

    values = numbers.wide(slice(0, length))
    assert np.array_equal(members(bits[2], length), np.flatnonzero(tagged & ((values < 3) | (values > 3))))
    spans = items.codes.reshape(length, 2)
    named = np.asarray([texts.dictionary.index(f"v{place}") for place in (1, 2, 3)] + [-9])[spans]
    expected = lists.valid & (texts.codes >= 0) & (named == texts.codes[:, None]).any(axis=1)
    assert np.array_equal(members(bits[1], length), np.flatnonzero(expected))


def test_arrow_types() -> None:
    coded = pa.DictionaryArray.from_arrays(pa.array([0, None, 2, 1], pa.int8()), pa.array(["a", None, "b"]))
    for numbers in (
        pa.array([1, None, 3, 4], pa.int64()),
        pa.array([1, None, 3, 4], pa.uint8()),
        pa.array([1, float("nan"), 3, 4], pa.float32()),
        pa.array([Decimal(1), None, Decimal(3), Decimal(4)], pa.decimal128(9, 2)),
    ):
        assert rows_of(Columns.from_arrow({"n": numbers}), "n > 1", "n IS NULL") == [[2, 3], [1]]
    for texts in (
        pa.array(["a", None, "b", None]),
        pa.array(["a", None, "b", None], pa.large_string()),
        pa.array(["a", None, "b", None], pa.string_view()).cast(pa.string()),
        coded,
    ):
        table = Columns.from_arrow({"t": texts})
        assert rows_of(table, "t = 'a'", "t <> 'a'", "t IS NULL", "t >= 'a'") == [[0], [2], [1, 3], [0, 2]]
    for moments in (
        pa.array([datetime(2026, 1, 1, tzinfo=UTC), None], pa.timestamp("ns", tz="UTC")),
        pa.array([datetime(2026, 1, 1), None], pa.timestamp("s")),  # noqa: DTZ001 - as Arrow keeps it
        pa.array([date(2026, 1, 1), None], pa.date32()),
    ):
        table = Columns.from_arrow({"d": moments})
        assert rows_of(table, "d = TIMESTAMP '2026-01-01'", "d IS NULL", "days_since(d) = 59") == [
            [0],
            [1],
            [0],
        ]
    flags = Columns.from_arrow({"b": pa.array([True, False, None])})
    assert rows_of(flags, "b", "NOT b", "b IS NULL", "b IS NOT TRUE") == [[0], [1], [2], [1, 2]]


def test_arrow_lists_slices_and_chunks() -> None:
    whole = pa.table(
        {
            "ts": pa.array([["x"], ["a", None], None, [], ["b", "a"]]),
            "ns": pa.array([[9], [1.5], None, [None], [2, 1.5]], pa.list_(pa.float64())),
            "t": pa.array(["x", "a", "a", "a", "c"]).dictionary_encode(),
        }
    )
    sliced = whole.slice(1)
    chunked = pa.concat_tables([sliced.slice(0, 1), sliced.slice(1)])
    for table in (sliced, chunked):
        found = rows_of(
            Columns.from_arrow(table),
            "list_contains(ts, 'a')",
            "NOT list_contains(ts, 'a')",
            "list_contains(ts, t)",
            "list_contains(ns, 1.5)",
            "ts IS NULL",
        )
        assert found == [[0, 3], [2], [0], [0, 3], [1]]


def test_columns_without_values_fit_any_type() -> None:
    table = pa.table({name: pa.nulls(3) for name in SCHEMA.names})
    texts = [f"{name} IS NULL" for name in SCHEMA.names]
    texts += ["n > 1 OR NOT n > 1", "t = 'a'", "b OR NOT b", "d < now()", "list_contains(ts, 'a')"]
    assert rows_of(Columns.from_arrow(table), *texts) == [[0, 1, 2]] * 6 + [[]] * 5
    empty = Columns(2, {"ts": Lists.of([[], None]), "ns": Lists.of([[None], None])})
    assert rows_of(empty, "NOT list_contains(ts, 'a')", "NOT list_contains(ns, 1)") == [[0], [0]]


def test_columns_by_hand() -> None:
    columns = Columns(
        3,
        {
            "n": Numbers.of([1, 2, 3], np.asarray([True, False, True])),
            "t": Texts.of(["É", None, "é"]),
            "b": Flags.of([True, False, False], np.asarray([True, True, False])),
            "d": Moments.of(np.asarray(["2026-01-01", "NaT", "1969-12-31"], dtype="datetime64[D]")),
            "ts": Lists.of([["a"], None, ["b", None]]),
            "ns": Lists.of([[1, None], None, []]),
        },
        tags={"x": np.asarray([0b101], dtype=np.uint8)},
        audiences={"x": np.asarray([False, True, False])},
    )
    found = rows_of(
        columns,
        "upper(t) = 'É'",
        "d < TIMESTAMP '1970-01-01'",
        "NOT tag('x')",
        "in_audience('x')",
        "tag('nobody has it')",
        "NOT b",
        "n IN (1, 3)",
        "list_contains(ns, n)",
        "length(t) = 1",
    )
    assert found == [[0, 2], [2], [1], [1], [], [1], [0, 2], [0], [0, 2]]


def test_what_does_not_fit_is_refused_by_name() -> None:
    rule = parse("n > 1 AND list_contains(ts, 'a')", SCHEMA)
    lists = Lists.of([["a"]])
    with pytest.raises(RuleValueError, match='column "ts" is missing'):
        compile_columns([rule])(Columns(1, {"n": Numbers.of([1])}))
    with pytest.raises(RuleValueError, match='column "n" is Texts, and must be a number'):
        compile_columns([rule])(Columns(1, {"n": Texts.of(["1"]), "ts": lists}))
    with pytest.raises(RuleValueError, match='column "ts" is Lists, and must be a list of text'):
        compile_columns([rule])(Columns(1, {"n": Numbers.of([1]), "ts": Lists.of([[1.0]])}))
    with pytest.raises(RuleValueError, match='column "n" has 2 rows, the others 1'):
        Columns(1, {"n": Numbers.of([1, 2])})
    with pytest.raises(RuleValueError, match='rows of "x"'):
        Columns(9, {}, tags={"x": np.zeros(1, dtype=np.uint8)})
    with pytest.raises(RuleValueError, match='rows of "x"'):
        Columns(9, {}, tags={"x": np.zeros(10, dtype=np.bool_)})
    with pytest.raises(RuleValueError, match='"n" is binary'):
        Columns.from_arrow({"n": pa.array([b"x"])})
    with pytest.raises(RuleValueError, match="now="):
        compile_columns([parse("d < now()", SCHEMA)])(Columns.from_arrow({"d": pa.nulls(1)}))
