"""What the engine keeps of each source of rows, worked out once from the specs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

from feature_repo.aggregates import ANY_EVENT, FeatureSpec, Measure, Source, ViewSpec, Where
from feature_repo.columns import FITS
from feature_repo.history import HistoryEvent
from feature_repo.schema import Scalar
from feature_repo.specs import Specs
from feature_repo.windows import DAY_US, HOUR_US

# An event's time may lie ahead of the clock by 24 h (audiences/events.py), so T may lie behind the newest
# row by as much; rows are kept for longer than the longest window by more than that.
SLACK_US = 25 * HOUR_US
# Values over windows shorter than this are computed again when something leaves the window.
SHORT_US = DAY_US
# Functions whose value depends on how long ago each single row was, so that nothing can be summed up.
NEEDS_EVERY_ROW = frozenset({"decayed_rate"})

Kept = Scalar  # kind of a kept column; the size of a list is an `int`
By = tuple[str, str]  # column, vocabulary


class Asked(NamedTuple):
    """A measure and where a source keeps what it needs: all that values are computed from.

    `bit` of the mask says which rows its filter lets through, `column` is the place of its column among the
    kept ones, `grouping` that of its positions; `folded` that of its sum over rows that are not kept any
    more, which a measure has if it sees all of the history. None: it has none.
    """

    measure: Measure
    by: By | None
    bit: int | None
    column: int | None
    grouping: int | None
    folded: int | None


class SourcePlan(NamedTuple):
    """What is kept of the rows of one source.

    `columns` are those that measures look at, by name, with their kinds; `filters` the different conditions,
    each a bit of a row's mask; `keep_us` how long before the newest row rows are kept (None: for ever);
    `short_us` the windows at whose end values are computed again.
    """

    source: Source
    columns: Mapping[str, Kept]
    filters: tuple[tuple[Where, ...], ...]
    bys: tuple[By, ...]
    keep_us: int | None
    short_us: tuple[int, ...]
    only_grouped: bool
    folded: tuple[Asked, ...]
    rated: tuple[By | None, ...]
    take: Callable[[HistoryEvent], list[tuple[Any, ...]]]


class Plan(NamedTuple):
    """Sources by their number, the measures of each feature by its name, which sources an event of a name has
    rows in, and how many words a vocabulary has.

    `fingerprint` differs whenever a state kept under one plan means something else under the other.
    """

    views: tuple[ViewSpec, ...]
    sources: tuple[SourcePlan, ...]
    measures: Mapping[str, tuple[Asked, ...]]
    of_event: Mapping[str, tuple[int, ...]]
    number: Mapping[Source, int]
    widths: Mapping[str, int]
    fingerprint: str


def make_plan(specs: Specs) -> Plan:
    """The plan of all views of users; those of accounts and of the population are computed by batch only."""
    views = tuple(view for view in specs.views.values() if view.of_users)
    features: dict[Source, list[FeatureSpec]] = {}
    for view in views:
        for feature in view.features:
            features.setdefault(feature.source, []).append(feature)
    measures: dict[str, tuple[Asked, ...]] = {}
    sources = tuple(_source(source, used, specs, measures) for source, used in features.items())
    of_event = {
        event: tuple(i for i, one in enumerate(sources) if one.source.event in (event, ANY_EVENT))
        for event in specs.events.events
    }
    described = repr((views, specs.events, sorted(specs.vocabularies.items())))
    return Plan(
        views=views,
        sources=sources,
        measures=measures,
        of_event=of_event,
        number={one.source: i for i, one in enumerate(sources)},
        widths={name: len(words) for name, words in specs.vocabularies.items()},
        fingerprint=blake2b(described.encode(), digest_size=16).hexdigest(),
    )


def by_of(feature: FeatureSpec) -> By | None:
    """What a feature groups by."""
    return None if feature.by is None else (feature.by.column, feature.by.vocabulary)


def size_column(column: str) -> str:
    """Name under which the size of a list column is kept."""
    return f"size.{column}"


def _source(
    source: Source, features: list[FeatureSpec], specs: Specs, measures: dict[str, tuple[Asked, ...]]
) -> SourcePlan:
    """The plan of one source; the measures of its features are added to `measures`."""
    fields = specs.events.fields_of(source.event, source.each) if source.event != ANY_EVENT else {}
    columns: dict[str, Kept] = {}
    filters: dict[tuple[Where, ...], None] = {}
    for feature in features:
        for measure in feature.measures:
            if measure.column is not None:
                kind = fields[measure.column]
                if isinstance(kind, str):
                    columns[measure.column] = kind
                else:
                    columns[size_column(measure.column)] = "int"
            if measure.where:
                filters[measure.where] = None
    windows = [feature.window.microseconds for feature in features if feature.window is not None]
    rated = dict.fromkeys(
        by_of(feature) for feature in features if feature.measures[0].function in NEEDS_EVERY_ROW
    )
    bys = tuple(dict.fromkeys(by for feature in features if (by := by_of(feature)) is not None))
    plan = SourcePlan(
        source=source,
        columns=columns,
        filters=tuple(filters),
        bys=bys,
        keep_us=None if rated else max(windows, default=0) + SLACK_US,
        short_us=tuple(sorted({window for window in windows if window < SHORT_US})),
        only_grouped=all(feature.by is not None for feature in features),
        folded=(),
        rated=tuple(rated),
        take=_nothing,
    )
    folded: list[Asked] = []
    for feature in features:
        # What keeps every row has nothing to sum up.
        sums = folded if feature.window is None and not rated else None
        measures[feature.name] = tuple(_asked(plan, one, by_of(feature), sums) for one in feature.measures)
    return plan._replace(take=_taker(plan, fields, specs), folded=tuple(folded))


def _asked(plan: SourcePlan, measure: Measure, by: By | None, sums: list[Asked] | None) -> Asked:
    name = measure.column
    if name is not None and measure.function == "last_size":
        name = size_column(name)
    asked = Asked(
        measure=measure,
        by=by,
        bit=plan.filters.index(measure.where) if measure.where else None,
        column=list(plan.columns).index(name) if name is not None else None,
        grouping=plan.bys.index(by) if by is not None else None,
        folded=None,
    )
    if sums is None:
        return asked
    sums.append(asked._replace(folded=len(sums)))
    return sums[-1]


def _nothing(_event: HistoryEvent) -> list[tuple[Any, ...]]:
    return []


def _taker(
    plan: SourcePlan, fields: Mapping[str, Any], specs: Specs
) -> Callable[[HistoryEvent], list[tuple[Any, ...]]]:
    """The function that makes the rows of an event: (mask, positions…, columns…) of each."""
    source = plan.source
    if source.event == ANY_EVENT:
        return lambda _event: [(0,)]
    used = {column for column, _ in plan.bys} | {where.column for one in plan.filters for where in one}
    used |= {column for column in plan.columns if column in fields}
    fits = {column: FITS[fields[column]] for column in used}
    sizes = {name: name.removeprefix(size_column("")) for name in plan.columns if name not in fields}
    tests = [[_test(where, fields[where.column]) for where in one] for one in plan.filters]
    places = [
        (column, {word: place for place, word in enumerate(specs.vocabularies[vocabulary])})
        for column, vocabulary in plan.bys
    ]

    def row(properties: Mapping[str, Any]) -> tuple[Any, ...] | None:
        fitted = {column: fit(properties.get(column)) for column, fit in fits.items()}
        mask = 0
        for bit, one in enumerate(tests):
            if all(test(fitted) for test in one):
                mask |= 1 << bit
        positions = [words.get(fitted[column], -1) for column, words in places]
        if plan.only_grouped and max(positions, default=-1) < 0:
            return None
        kept = [
            _size(properties.get(sizes[column])) if column in sizes else fitted[column]
            for column in plan.columns
        ]
        return (mask, *positions, *kept)

    if source.each is None:
        return lambda event: [one for one in (row(event.properties),) if one is not None]
    return partial(
        _of_elements, source.each, isinstance(specs.events.events[source.event][source.each][0], str), row
    )


def _of_elements(
    each: str, plain: bool, row: Callable[[Mapping[str, Any]], tuple[Any, ...] | None], event: HistoryEvent
) -> list[tuple[Any, ...]]:
    elements = event.properties.get(each)
    if not isinstance(elements, list | tuple):
        return []
    rows = []
    for element in elements:
        fields = {each: element} if plain else element if isinstance(element, dict) else {}
        if (made := row(fields)) is not None:
            rows.append(made)
    return rows


def _size(value: Any) -> int | None:
    return len(value) if isinstance(value, list | tuple) else None


_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, wanted: value in wanted,
}


def _test(where: Where, kind: Scalar) -> Callable[[Mapping[str, Any]], bool]:
    wanted: Any = where.value
    if kind == "time":
        wanted = [_moment(one) for one in wanted] if isinstance(wanted, tuple) else _moment(wanted)
    compare, column = _COMPARE[where.compare], where.column

    def holds(fitted: Mapping[str, Any]) -> bool:
        value = fitted[column]
        return value is not None and compare(value, wanted)

    return holds


def _moment(written: Any) -> datetime:
    moment = datetime.fromisoformat(str(written))
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
