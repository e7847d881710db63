"""Compiles features to DuckDB SQL: one table of rows a source, one grouped query a view and source.

Names come from validated documents (lower-case identifiers); values are written as escaped literals.
"""

# ruff: noqa: S608 - names in the SQL come from validated documents, values are escaped literals

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from feature_repo.aggregates import ANY_EVENT, FeatureSpec, Function, Measure, Source, Where
from feature_repo.windows import DAY_US, WEEK_US

# Users have fewer than this many periods, so user × this + period numbers the pairs.
PERIODS_APART = 1_000
# Functions that are 0 where nothing happened.
COUNTS: frozenset[Function] = frozenset(
    {"count", "count_events", "decayed_rate", "distinct", "distinct_weeks", "sum"}
)


class EntityRows(NamedTuple):
    """Whose rows are computed: a table (user_id, `key`, _row) that numbers entities from 0 by their key."""

    table: str
    key: str
    # The same with each entity once.
    once: str

    def keys(self) -> str:
        """The entities in the order of their rows."""
        return f'SELECT "{self.key}" FROM {self.once} ORDER BY "_row"'


USERS = EntityRows("users", "user_id", "users")
ACCOUNTS = EntityRows("accounts", "account_id", '(SELECT DISTINCT account_id, "_row" FROM accounts)')


def literal(value: bool | float | str) -> str:
    """A value as an SQL literal."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def condition(where: Where) -> str:
    """A filter as SQL; null never satisfies it."""
    if isinstance(where.value, tuple):
        return f'"{where.column}" IN ({", ".join(map(literal, where.value))})'
    compare = "<>" if where.compare == "!=" else where.compare
    return f'"{where.column}" {compare} {literal(where.value)}'


def position_column(column: str, vocabulary: str) -> str:
    """Column of a source table that holds the place of `column` in the vocabulary (null: not in it)."""
    return f"position.{column}.{vocabulary}"


def columns_used(features: Iterable[FeatureSpec]) -> list[str]:
    """Columns of a source that its features look at, beside the one they group by."""
    used = {m.column for f in features for m in f.measures if m.column is not None}
    used |= {w.column for f in features for m in f.measures for w in m.where}
    return sorted(used)


def source_table(
    name: str, source: Source, features: list[FeatureSpec], entity: EntityRows, as_of_us: int
) -> str:
    """CREATE TABLE of a source's rows, those before T.

    Columns: `_row` (of the entity), `_sequence`, `_age` (µs before T, at least 1), `_bin`
    (whole weeks before T), `_place` (of an element in its list) where its features ask for the last, the
    columns they use, and a position for every vocabulary they group by.
    """
    windows = [feature.window for feature in features]
    longest = max((w.microseconds for w in windows if w is not None), default=0)
    limit = f" WHERE _age <= {longest}" if None not in windows else ""
    pairs = sorted({(f.by.column, f.by.vocabulary) for f in features if f.by is not None})
    used = columns_used(features)
    inner, outer = (
        [f'{entity.table}."_row"', "sequence AS _sequence", "_age"],
        ['"_row"', "_sequence", "_age"],
    )
    outer.append(f"(_age - 1) // {WEEK_US} AS _bin")
    if source.each is None:
        inner += [f'"{column}"' for column in sorted({*used, *(column for column, _ in pairs)})]
        outer += [f'"{column}"' for column in used]
    else:
        inner.append(f'unnest("{source.each}") AS _element')
        if any(measure.function == "last" for feature in features for measure in feature.measures):
            inner.append(f'unnest(range(len("{source.each}"))) AS _place')
            outer.append("_place")
        outer += [f'{_value(source, column)} AS "{column}"' for column in used]
    joins = ""
    for i, (column, vocabulary) in enumerate(pairs):
        outer.append(f'words_{i}.position AS "{position_column(column, vocabulary)}"')
        matches = f"words_{i}.word = {_value(source, column)}"
        joins += f' LEFT JOIN "vocabulary.{vocabulary}" AS words_{i} ON {matches}'
    only_grouped = pairs and all(feature.by is not None for feature in features)
    known = " OR ".join(f"words_{i}.position IS NOT NULL" for i in range(len(pairs)))
    return (
        f'CREATE TEMP TABLE "{name}" AS '
        f"WITH events AS (SELECT *, {as_of_us} - epoch_us(occurred_at) AS _age "
        f"FROM {relation_name(source)}), "
        f"rows AS (SELECT {', '.join(inner)} FROM events JOIN {entity.table} USING (user_id){limit}) "
        f"SELECT {', '.join(outer)} FROM rows{joins}" + (f" WHERE {known}" if only_grouped else "")
    )


def _value(source: Source, column: str) -> str:
    if source.each is None:
        return f'"{column}"'
    # An element of a plain list is itself the column; one of a list of structs has it as a field.
    return "_element" if source.each == column else f"struct_extract(_element, '{column}')"


def any_event(relations: dict[str, str]) -> str:
    """Relation of all events that have a history, for features over `any`."""
    selects = [f"SELECT sequence, user_id, occurred_at FROM {relation}" for relation in relations.values()]
    return f"({' UNION ALL '.join(selects)})"


def relation_name(source: Source) -> str:
    """Name of the view that reads a source's events."""
    return f'"history.{source.event}"' if source.event != ANY_EVENT else '"history.any"'


def grouped(
    features: list[FeatureSpec], table: str, *, entity: EntityRows | None, users: int, as_of_us: int
) -> str:
    """One query for features of one view with the same source and grouping; no `entity`: of the population.

    Without `by`: one row an entity in their order (population: one row). With `by`: rows
    (_row, _position, values) where anything happened, in no order.
    """
    by = features[0].by
    position = f'"{position_column(by.column, by.vocabulary)}"' if by is not None else None
    rows = f'"{table}"' + (f" WHERE {position} IS NOT NULL" if position else "")
    values = [f'{expression(f, rows, users, as_of_us)} AS "{f.name}"' for f in features]
    if position is not None:
        row = "0" if entity is None else '"_row"'
        return (
            f'SELECT {row} AS "_row", {position} AS _position, {", ".join(values)} FROM {rows} GROUP BY ALL'
        )
    if entity is None:
        return f'SELECT {", ".join(values)} FROM "{table}"'
    filled = [
        f'counted."{f.name}"'
        if (nothing := _when_absent(f)) is None
        else f'if(counted."_row" IS NULL, {nothing}, counted."{f.name}") AS "{f.name}"'
        for f in features
    ]
    return (
        f"SELECT {', '.join(filled)} FROM {entity.once} AS entities LEFT JOIN "
        f'(SELECT "_row", {", ".join(values)} FROM "{table}" GROUP BY "_row") AS counted '
        'ON counted."_row" = entities."_row" ORDER BY entities."_row"'
    )


def _when_absent(feature: FeatureSpec) -> int | None:
    """What a user without any row has; None for null."""
    measure = feature.measures[0]
    if feature.is_ratio:
        return None
    return 0 if measure.function in COUNTS else measure.cap


def expression(feature: FeatureSpec, rows: str, users: int, as_of_us: int) -> str:
    """SQL of one feature over the rows of a group; `rows` are those of all groups."""
    if feature.is_ratio:
        of, *to = [_measure(feature, m, rows, users, as_of_us) for m in feature.measures]
        return f"({of})::DOUBLE / nullif({' + '.join(to)}, 0)"
    value = _measure(feature, feature.measures[0], rows, users, as_of_us)
    # A sum of integers may need more than the 64 bits a feature has; then it is unknown.
    return f"try_cast({value} AS BIGINT)" if feature.type == "int" else value


def _measure(feature: FeatureSpec, measure: Measure, rows: str, users: int, as_of_us: int) -> str:
    window = feature.window
    conditions = [condition(where) for where in measure.where]
    if window is not None:
        conditions.insert(0, f"_age <= {window.microseconds}")
    only = f" FILTER (WHERE {' AND '.join(conditions)})" if conditions else ""
    column = f'"{measure.column}"'
    # Of the elements of one event the last in its list counts as the latest.
    order = "row(-_age, _sequence)" if feature.source.each is None else "row(-_age, _sequence, _place)"
    periods = ((window.weeks if window else None) or 0) // (measure.period_weeks or 1)
    cap = measure.cap
    # What a week loses in weight against the one after it.
    kept = 2.0 ** (-1 / measure.half_life_weeks) if measure.half_life_weeks else 0.0
    expressions = {
        "count": f"count(*){only}",
        "count_events": f"count(DISTINCT _sequence){only}",
        "distinct": f"count(DISTINCT {column}){only}",
        # One bit a week: or-ing and counting bits is several times faster than COUNT(DISTINCT).
        "distinct_weeks": f"coalesce(bit_count(bit_or(1::HUGEINT << least(_bin, 126)::INTEGER){only}), 0)",
        "sum": f"coalesce(sum({column}){only}, 0)",
        "mean": f"avg({column}){only}",
        "min": f"min({column}){only}",
        "max": f"max({column}){only}",
        "last": f"arg_max({column}, {order}){only}",
        "last_size": f"arg_max(len({column}), {order}){only}",
        "last_time": f"make_timestamptz({as_of_us} - min(_age){only})",
        "first_time": f"make_timestamptz({as_of_us} - max(_age){only})",
        "days_since_last": f"min(_age){only} / {float(DAY_US)!r}",
        "days_since_first": f"max(_age){only} / {float(DAY_US)!r}",
        "weeks_since_last": f"min(_bin){only}"
        if cap is None
        else f"coalesce(least(min(_bin){only}, {cap}), {cap})",
        "share_of_users": (
            f'count(DISTINCT "_row" * {PERIODS_APART} + _bin // {measure.period_weeks}){only} '
            f"/ {float(max(users, 1) * max(periods, 1))!r}"
        ),
        # The weights of the history's weeks are a geometric series.
        "decayed_rate": (
            f"coalesce(sum({kept!r} ** _bin){only}, 0) * {1 - kept!r} "
            f"/ (SELECT 1 - {kept!r} ** (max(_bin) + 1) FROM {rows})"
        ),
    }
    return expressions[measure.function]
