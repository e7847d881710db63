"""Columns in narrow types answer as the same values in wide ones."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.rules import (
    Columns,
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
from audiences.rules.joining import cut

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = Schema({"n": Type.NUMBER, "at": Type.TIMESTAMP})
_COMPARE = {
    "=": np.equal,
    "<>": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
ORDERINGS = list(_COMPARE)

SMALL = st.integers(-130, 130).map(float)
MIDDLE = st.integers(-40_000, 40_000).map(float)
HALVES = st.floats(width=32, allow_nan=False)
WIDE = st.floats(allow_nan=False)
VALUES = st.sampled_from([SMALL, MIDDLE, HALVES, WIDE]).flatmap(
    lambda kind: st.lists(st.none() | kind, min_size=1, max_size=20)
)


def _rows(text: str, columns: Columns) -> list[int]:
    return list(members(compile_columns([parse(text, SCHEMA)])(columns, now=NOW)[0], columns.length))


@given(VALUES, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(ORDERINGS))
def test_a_comparison_with_a_constant(values: list[float | None], constant: float, ordering: str) -> None:
    column = Numbers.of([math.nan if value is None else value for value in values])
    compare = _COMPARE[ordering]
    for given_constant in (constant, *(value for value in values[:3] if value is not None)):
        if math.isinf(given_constant):
            continue
        expected = [
            row
            for row, value in enumerate(values)
            if value is not None and bool(compare(value, given_constant))
        ]
        assert _rows(f"n {ordering} {given_constant!r}", Columns(len(values), {"n": column})) == expected


@given(VALUES)
def test_what_is_missing_stays_missing(values: list[float | None]) -> None:
    columns = Columns(len(values), {"n": Numbers.of([math.nan if v is None else v for v in values])})
    missing = [row for row, value in enumerate(values) if value is None]
    assert _rows("n IS NULL", columns) == missing
    assert _rows("n IN (1, 2, 3) OR n NOT IN (1, 2, 3)", columns) == [
        row for row in range(len(values)) if row not in missing
    ]
    wide = columns.columns["n"]
    assert isinstance(wide, Numbers)
    assert [None if math.isnan(v) else v for v in wide.wide(slice(0, len(values)))] == values


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 127], np.int8),
        ([1, 128], np.int16),
        ([1, -40_000], np.int32),
        ([1, 2**31], np.float32),
        ([0.5, 2], np.float32),
        ([0.1, 2], np.float64),
        ([1, math.inf], np.float32),
    ],
)
def test_the_narrowest_type_is_chosen(values: list[float], kind: type) -> None:
    assert Numbers.of(values).values.dtype == kind
    assert Numbers.of([*values, math.nan]).values.dtype == kind


@given(
    st.lists(st.none() | st.integers(-10_000_000, 10_000_000), min_size=1, max_size=20),
    st.sampled_from(ORDERINGS),
    st.integers(-100, 100) | st.floats(-100, 100),
    st.booleans(),
)
def test_ages(offsets: list[int | None], ordering: str, days: float, whole: bool) -> None:
    step = timedelta(seconds=1) if whole else timedelta(milliseconds=1)
    moments = [None if offset is None else NOW - offset * step for offset in offsets]
    table = pa.table({"at": pa.array(moments, pa.timestamp("us", tz="UTC"))})
    columns = Columns.from_arrow(table)
    rule = parse(f"days_since(at) {ordering} {days!r}", SCHEMA)
    expected = [row for row, moment in enumerate(moments) if rule.matches({"at": moment}, now=NOW)]
    assert _rows(rule.text, columns) == expected
    edge = NOW - timedelta(days=days)
    against = parse(f"at {ordering} TIMESTAMP '{edge:%Y-%m-%d %H:%M:%S.%f}'", SCHEMA)
    expected = [row for row, moment in enumerate(moments) if against.matches({"at": moment}, now=NOW)]
    assert _rows(against.text, columns) == expected


def test_whole_seconds_take_four_bytes() -> None:
    seconds = Moments.of(np.asarray([0, 5_000_000, 7_000_000]), np.asarray([True, False, True]))
    assert seconds.in_seconds
    assert np.array_equal(np.isnat(seconds.wide(slice(0, 3))), [False, True, False])
    assert not Moments.of(np.asarray([0, 5_000_001])).in_seconds


SHARES = st.lists(
    st.lists(
        st.tuples(
            st.none() | st.integers(0, 3) | st.sampled_from([300, 70_000, 0.5, 0.1]),
            st.none() | st.sampled_from(["a", "b", "c"]),
            st.none() | st.booleans(),
            st.none() | st.lists(st.integers(0, 3), max_size=3),
            st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - made aware below
        ),
        max_size=12,
    ),
    min_size=1,
    max_size=4,
)


@given(SHARES)
def test_joined_shares_answer_as_one_table(shares: list[list[tuple[object, ...]]]) -> None:
    schema = Schema(
        {
            "n": Type.NUMBER,
            "t": Type.TEXT,
            "f": Type.BOOL,
            "l": Type.NUMBERS,
            "at": Type.TIMESTAMP,
        }
    )
    texts = [
        "n > 2", "n / 2 < 1", "t IN ('a', 'c')", "t <> 'b'", "f", "NOT f", "list_contains(l, 2)", "l IS NULL",
        "at >= TIMESTAMP '2025-01-01'", "days_since(at) < 1000", "n IS NULL OR t IS NULL",
    ]  # fmt: skip
    rules = compile_columns([parse(text, schema) for text in texts])
    whole = [row for share in shares for row in share]
    apart = Columns.joined([Columns.from_arrow(_table(share)) for share in shares])
    assert np.array_equal(rules(apart, now=NOW), rules(Columns.from_arrow(_table(whole)), now=NOW))


def _table(rows: list[tuple[object, ...]]) -> pa.Table:
    n, t, f, lists, at = zip(*rows, strict=True) if rows else ((),) * 5
    return pa.table(
        {
            "n": pa.array([None if v is None else float(str(v)) for v in n], pa.float64()),
            "t": pa.array(t, pa.string()),
            "f": pa.array(f, pa.bool_()),
            "l": pa.array(lists, pa.list_(pa.float32())),
            "at": pa.array(at, pa.timestamp("us", tz="UTC")),
        }
    )


def test_shares_that_do_not_fit_are_refused() -> None:
    numbers, texts = Columns(1, {"x": Numbers.of([1])}), Columns(1, {"x": Texts.of(["a"])})
    with pytest.raises(RuleValueError, match="must be a number"):
        Columns.joined([numbers, texts])
    with pytest.raises(RuleValueError, match="missing in a share"):
        Columns.joined([numbers, Columns(1, {})])


def test_a_slice_of_lists_is_read_from_its_own_beginning() -> None:
    lists = pa.array([[1.0], [2.0, 3.0], None, [4.0]], pa.list_(pa.float32()))
    columns = Columns.from_arrow(pa.table({"l": lists.slice(1)}))
    column = columns.columns["l"]
    assert isinstance(column, Lists)
    assert column.offsets.tolist() == [0, 2, 2, 3]


@given(SHARES)
def test_what_is_cut_answers_as_its_rows(shares: list[list[tuple[object, ...]]]) -> None:
    schema = Schema(
        {"n": Type.NUMBER, "t": Type.TEXT, "f": Type.BOOL, "l": Type.NUMBERS, "at": Type.TIMESTAMP}
    )
    texts = ["n > 2", "t <> 'b'", "NOT f", "list_contains(l, 2)", "days_since(at) < 1000", "tag('x')"]
    rules = compile_columns([parse(text, schema) for text in texts])
    rows = [row for share in shares for row in share]
    tagged = np.asarray([place % 3 == 0 for place in range(len(rows))], dtype=np.bool_)
    whole = Columns.from_arrow(_table(rows), tags={"x": tagged})
    for start in range(0, len(rows), 8):
        part = cut(whole, start, min(start + 8, len(rows)))
        bits = rules(whole, now=NOW)[:, start // 8 : start // 8 + 1]
        assert np.array_equal(rules(part, now=NOW), bits)
