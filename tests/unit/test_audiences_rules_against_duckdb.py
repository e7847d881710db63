"""Random rules over random users: one user, columns, the evaluated tree and DuckDB must agree.

DuckDB reads the very text of the rule. It is told to answer division by zero with NULL, as rules do;
numbers are written with an exponent, which makes them DOUBLE there instead of DECIMAL.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiences.rules import Columns, Rule, Schema, Type, compile_columns, compile_one, members, parse

USERS = 200
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMA = Schema(
    {
        "orders": Type.NUMBER,
        "spend": Type.NUMBER,
        "visits": Type.NUMBER,
        "city": Type.TEXT,
        "name": Type.TEXT,
        "active": Type.BOOL,
        "paid": Type.BOOL,
        "joined": Type.TIMESTAMP,
        "seen": Type.TIMESTAMP,
        "liked": Type.TEXTS,
        "scores": Type.NUMBERS,
    }
)
NUMBERS = (0.0, -0.0, 1, 2, 3, -1, 2.5, -2.5, 0.1, 0.3, 7, 1e-9, 2**53 + 1, 2**63 - 1, -(10**18), 123456.789)
TEXTS = tuple(  # split, to see them side by side
    "|a|A|b|ab|Straße|STRASSE|ÉCOLE|école|İx|100%|a_b|ΟΔΟΣ|οδος|O'Hara|日本|👍| a|a\nb|e\u0301|ŉ|ﬁ".split("|")  # noqa: SIM905
)
LITERAL_NUMBERS = (
    "0e0",
    "1e0",
    "2e0",
    "3e0",
    "-1e0",
    "2.5e0",
    "0.1e0",
    "0.3e0",
    "9007199254740992e0",
    "1e18",
)
PATTERNS = (
    "%",
    "a%",
    "%b",
    "%a%",
    "_",
    "__",
    "a_b",
    "a!_b",
    "%!%",
    "É%",
    "%ß%",
    "",
    "i%",
    "ΟΔΟ_",
    "O'%",
    "a%b",
)
MOMENTS = (
    NOW,
    NOW - timedelta(days=30),
    NOW - timedelta(days=30, microseconds=1),
    datetime(1969, 7, 20, tzinfo=UTC),
    datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(9999, 1, 1, tzinfo=UTC),
)
SMALL_NUMBERS = tuple(number for number in NUMBERS if number in range(-9, 9))
WHOLE_SECONDS = tuple(at for at in MOMENTS if at.microsecond == 0 and at.year < 2038)
INTERVALS = ("30 days", "1 day", "36 hours", "2 weeks", "90 minutes", "5 seconds")
LABELS = ("vip", "new", "école")


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def joined(template: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda texts: template.format(*texts))


literal_texts = st.sampled_from(TEXTS).map(quoted)
literal_moments = st.sampled_from(MOMENTS).map(lambda moment: f"TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S.%f}'")
columns_of_numbers = st.sampled_from(["orders", "spend", "visits"])
columns_of_text = st.sampled_from(["city", "name"])
bools = st.sampled_from(["active", "paid"])

moments = st.one_of(
    st.sampled_from(["joined", "seen"]),
    joined("(now() {} INTERVAL '{}')", st.sampled_from("+-"), st.sampled_from(INTERVALS)),
    joined("(joined {} INTERVAL '{}')", st.sampled_from("+-"), st.sampled_from(INTERVALS)),
    joined("coalesce(joined, seen, {})", literal_moments),
    joined("{}(joined, seen, {})", st.sampled_from(["least", "greatest"]), literal_moments),
)
texts = st.one_of(
    columns_of_text,
    joined("{}({})", st.sampled_from(["lower", "upper"]), columns_of_text),
    joined("coalesce(city, name, {})", literal_texts | st.just("NULL")),
    joined("{}(city, name, {})", st.sampled_from(["least", "greatest"]), literal_texts | st.just("NULL")),
)
operators = st.sampled_from("+-*/%")
numbers = st.recursive(
    st.one_of(
        columns_of_numbers,
        joined(
            "({} {} {})", columns_of_numbers, operators, columns_of_numbers | st.sampled_from(["0e0", "2e0"])
        ),
        joined("length({})", texts),
        joined("days_since({})", moments),
    ),
    lambda inner: st.one_of(
        joined("({} {} {})", inner, operators, inner | st.sampled_from(LITERAL_NUMBERS)),
        joined("({} {} {})", st.sampled_from(LITERAL_NUMBERS), operators, inner),
        joined("(- {})", inner),
        joined("{}({})", st.sampled_from(["abs", "round"]), inner),
        joined("round({}, {})", inner, st.sampled_from(["0", "1", "2", "-1", "-3"])),
        joined("coalesce({}, {})", inner, inner | st.just("NULL") | st.sampled_from(LITERAL_NUMBERS)),
        joined("{}({}, {})", st.sampled_from(["least", "greatest"]), inner, inner),
    ),
    max_leaves=3,
)
orderings = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])


def chosen(options: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(options | st.just("NULL"), min_size=1, max_size=12, unique=True).map(", ".join)


def checks(value: st.SearchStrategy[str], constant: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    negation = st.sampled_from(["", "NOT "])
    return st.one_of(
        joined("({} {} {})", value, orderings, constant | value | st.just("NULL")),
        joined("({} {} {})", constant, orderings, value),
        joined("({} {}IN ({}))", value, negation, chosen(constant)),
        joined("({} {}BETWEEN {} AND {})", value, negation, constant | st.just("NULL"), constant | value),
        joined("({} IS {}NULL)", value, negation),
    )


atoms = st.one_of(
    checks(numbers, st.sampled_from(LITERAL_NUMBERS)),
    checks(texts, literal_texts),
    checks(moments, literal_moments),
    bools,
    joined("({} IS NULL)", st.sampled_from(["liked", "scores"])),
    joined(
        "({} {} {} ESCAPE '!')",
        texts,
        st.sampled_from(["LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"]),
        st.sampled_from(PATTERNS).map(quoted),
    ),
    joined("({} LIKE {})", texts, st.sampled_from(PATTERNS).map(quoted)),
    joined("list_contains(liked, {})", literal_texts | texts | st.just("NULL")),
    joined("list_contains(scores, {})", numbers | st.sampled_from(LITERAL_NUMBERS)),
    joined("{}({})", st.sampled_from(["tag", "in_audience"]), st.sampled_from(LABELS).map(quoted)),
    st.sampled_from(["TRUE", "FALSE", "(active = NULL)", "(active = TRUE)", "(FALSE <> paid)"]),
)
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        joined("({} {} {})", inner, st.sampled_from(["AND", "OR"]), inner),
        joined("({0} {3} {1} {3} {2})", inner, inner, inner, st.sampled_from(["AND", "OR"])),
        joined("(NOT {})", inner),
        joined("({} IS {})", inner, st.sampled_from(["TRUE", "NOT TRUE", "FALSE", "NOT FALSE"])),
        joined("({} IS {})", inner, st.sampled_from(["NULL", "NOT NULL"])),
        joined("({} {} {})", inner, st.sampled_from(["=", "<>"]), inner),
        joined("coalesce({}, {})", inner, inner),
    ),
    max_leaves=8,
)


def users(seed: int) -> list[dict[str, object]]:
    draw = random.Random(seed)

    def one(options: tuple[object, ...], nothing: tuple[object, ...] = (None,)) -> object:
        return draw.choice(nothing) if draw.random() < 0.2 else draw.choice(options)

    def several(options: tuple[object, ...]) -> object:
        return None if draw.random() < 0.2 else [one(options) for _ in range(draw.randrange(4))]

    makers = {
        Type.NUMBER: lambda: one(NUMBERS, (None, float("nan"))),
        Type.TEXT: lambda: one(TEXTS),
        Type.BOOL: lambda: one((True, False)),
        Type.TIMESTAMP: lambda: one(MOMENTS),
        Type.TEXTS: lambda: several(TEXTS),
        Type.NUMBERS: lambda: several(NUMBERS),
    }
    rows = [{name: makers[kind]() for name, kind in SCHEMA.names.items()} for _ in range(USERS)]
    for row in rows:
        # Two that columns keep narrow: small whole numbers, and whole seconds.
        row["visits"] = one(SMALL_NUMBERS)
        row["seen"] = one(WHOLE_SECONDS)
        row["tags"] = {label for label in LABELS if draw.random() < 0.5}
        row["audiences"] = {label for label in LABELS if draw.random() < 0.5}
    return rows


ARROW_TYPES = {
    Type.NUMBER: pa.float64(),
    Type.TEXT: pa.string(),
    Type.BOOL: pa.bool_(),
    Type.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Type.TEXTS: pa.list_(pa.string()),
    Type.NUMBERS: pa.list_(pa.float64()),
}


def as_floats(value: object) -> object:
    if isinstance(value, list):
        return [as_floats(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return None if value != value else float(value)


def table_of(rows: list[dict[str, object]]) -> pa.Table:
    return pa.table(
        {
            name: pa.array([as_floats(row[name]) for row in rows], type=ARROW_TYPES[kind])
            for name, kind in SCHEMA.names.items()
        }
    )


def labelled(
    rows: list[dict[str, object]], key: str
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    return {
        label: np.asarray([label in labels for row in rows if isinstance(labels := row[key], set)])
        for label in LABELS
    }


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    connection.execute("SET ieee_floating_point_ops = false; SET error_on_division_by_zero = false")
    connection.execute("SET threads = 1; SET TimeZone = 'UTC'")
    connection.execute(
        f"""CREATE MACRO days_since(since) AS
        (epoch_us(TIMESTAMP '{NOW:%F %T}') - epoch_us(since))::DOUBLE / 86400000000::DOUBLE"""
    )
    yield connection
    connection.close()


def in_duckdb(duck: duckdb.DuckDBPyConnection, text: str) -> list[int]:
    for ours, theirs in (
        ("tag('", "list_contains(tags, '"),
        ("in_audience('", "list_contains(audiences, '"),
        ("now()", f"TIMESTAMP '{NOW:%F %T}'"),
    ):
        text = text.replace(ours, theirs)
    return [row for (row,) in duck.execute(f"SELECT row FROM users WHERE {text} ORDER BY row").fetchall()]


def in_python(rules: list[Rule], rows: list[dict[str, object]]) -> list[list[int]]:
    compiled = compile_one(rules)
    answers = [
        compiled(
            row,
            tags=set(map(str, _set(row["tags"]))),
            audiences=set(map(str, _set(row["audiences"]))),
            now=NOW,
        )
        for row in rows
    ]
    return [[place for place, answer in enumerate(answers) if answer[rule]] for rule in range(len(rules))]


def _set(labels: object) -> set[object]:
    return labels if isinstance(labels, set) else set()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(conditions, min_size=4, max_size=8), seed=st.integers(0, 2**32))
def test_all_agree(duck: duckdb.DuckDBPyConnection, texts: list[str], seed: int) -> None:
    rows = users(seed)
    rules = [parse(text, SCHEMA) for text in texts]
    table = table_of(rows)
    stored = table.append_column("row", pa.array(range(USERS)))
    for key in ("tags", "audiences"):
        stored = stored.append_column(key, pa.array([sorted(map(str, _set(row[key]))) for row in rows]))
    for name in ("joined", "seen"):
        stored = stored.set_column(
            stored.column_names.index(name), name, stored[name].cast(pa.timestamp("us"))
        )
    duck.register("users", stored)
    expected = [in_duckdb(duck, text) for text in texts]

    columns = Columns.from_arrow(table, tags=labelled(rows, "tags"), audiences=labelled(rows, "audiences"))
    bits = compile_columns(rules)(columns, now=NOW)
    one_by_one = in_python(rules, rows)
    for place, rule in enumerate(rules):
        assert members(bits[place], USERS).tolist() == expected[place], f"columns: {rule.text}"
        assert one_by_one[place] == expected[place], f"one user: {rule.text}"
        by_tree = [
            number
            for number, row in enumerate(rows)
            if rule.matches(
                row,
                tags=set(map(str, _set(row["tags"]))),
                audiences=set(map(str, _set(row["audiences"]))),
                now=NOW,
            )
        ]
        assert by_tree == expected[place], f"tree: {rule.text}"
        assert parse(str(rule), SCHEMA) == rule


GRAMMAR = [
    "active AND paid OR NOT active",
    "NOT active AND paid",
    "NOT orders = 1e0",
    "NOT orders = 1e0 IS NULL",
    "orders = spend IS NULL",
    "orders = spend IS NOT NULL AND active",
    "orders + spend * visits - 1e0 > 2e0",
    "orders - spend - visits > 0e0",
    "orders / spend / visits < 1e0 OR orders % 2e0 * 3e0 = 3e0",
    "- orders + spend > 0e0",
    "- orders % 2e0 = -1e0",
    "orders BETWEEN 1e0 AND 2e0 AND active",
    "NOT orders BETWEEN 1e0 AND 2e0 OR active",
    "orders + 1e0 BETWEEN 1e0 AND 2e0 + 1e0",
    "orders IN (1e0, 2e0) = active",
    "active = (orders > 1e0)",
    "orders < 2e0 AND NOT active = paid OR orders > spend",
    "city LIKE 'a%' AND name NOT LIKE '%b' OR city IS NULL",
    "orders > 1e0 IS NOT TRUE",
    "orders IS NULL = active",
    "NOT NOT active",
    "NOT active IS NULL",
    "orders NOT IN (1e0, 2e0) AND NOT paid",
    "orders + 1e0 IS NULL",
    "orders % 2e0 IN (1e0, 0e0)",
]


@pytest.mark.parametrize("text", GRAMMAR)
def test_precedence_is_duckdbs(duck: duckdb.DuckDBPyConnection, text: str) -> None:
    rows = users(7)
    stored = table_of(rows).append_column("row", pa.array(range(USERS)))
    duck.register("users", stored)
    expected = in_duckdb(duck, text)
    assert in_python([parse(text, SCHEMA)], rows) == [expected]
