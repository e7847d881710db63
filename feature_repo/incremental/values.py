"""Features of one user as of a time T, from kept rows and sums of those that are not kept any more.

The same answers as `feature_repo.sql` gives over the history; the property test of both says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from feature_repo.aggregates import FeatureSpec, Measure, ViewSpec
from feature_repo.columns import dense_array
from feature_repo.encoding import EPOCH
from feature_repo.incremental.fold import ADDED, EARLIEST, LATEST, chosen, column_of, fold, join, present
from feature_repo.incremental.plan import Asked, By, Plan
from feature_repo.incremental.rows import Array, Rows
from feature_repo.incremental.user import SourceState, UserState
from feature_repo.windows import DAY_US, WEEK_US

SECOND_US = 1_000_000
_LARGEST = (1 << 63) - 1
# The first row of a source, of all users, by the number of the source and what it is grouped by.
Firsts = Mapping[tuple[int, By | None], int]


def features_of(
    plan: Plan, state: UserState, as_of: int, firsts: Firsts, views: Sequence[ViewSpec] | None = None
) -> dict[str, Any] | None:
    """Features of a user as of T (µs since 1970), by name, of all views of users or of some.

    None if nothing happened before T.

    Values are as in a snapshot: int, float, str, bool, aware datetime in whole seconds, float32 arrays, None.
    """
    if state.first >= as_of:
        return None
    seen: dict[int, _Seen] = {}
    found = {}
    for view in plan.views if views is None else views:
        for feature in view.features:
            number = plan.number[feature.source]
            if number not in seen:
                seen[number] = _Seen(plan, number, state.sources.get(number), as_of, firsts)
            found[feature.name] = seen[number].value(feature)
    return found


def next_change(plan: Plan, state: UserState, as_of: int) -> int | None:
    """When (µs) a value changes next although nothing happens: None if not soon.

    Told of: rows dated after T, and rows that leave a window shorter than `plan.SHORT_US`. All other values
    that depend on T are as old as their row's time says.
    """
    moments = [state.first + 1] if state.first >= as_of else []
    for number, kept in state.sources.items():
        times = kept.rows.times
        later = np.searchsorted(times, as_of)
        if later < len(times):
            moments.append(int(times[later]) + 1)
        for window in plan.sources[number].short_us:
            oldest = np.searchsorted(times, as_of - window)
            if oldest < len(times):
                moments.append(int(times[oldest]) + window + 1)
    return min(moments, default=None)


class _Seen:
    """One source of one user as seen at T."""

    def __init__(
        self, plan: Plan, number: int, state: SourceState | None, as_of: int, firsts: Firsts
    ) -> None:
        self._measures = plan.measures
        self._widths = plan.widths
        self._number = number
        self._state = state
        self._as_of = as_of
        self._firsts = firsts
        self._parts: dict[int | None, Rows] = {}

    def value(self, feature: FeatureSpec) -> Any:
        if feature.is_ratio:
            return self._ratio(feature)
        asked = self._measures[feature.name][0]
        if asked.by is not None:
            return self._array(feature, asked, asked.by)
        if asked.measure.function == "decayed_rate":
            return self._decayed(feature, asked)
        if asked.measure.function == "distinct_weeks":
            return self._weeks(feature, asked)
        return self._finished(feature, asked.measure, self._sum(feature, asked))

    def _rows(self, feature: FeatureSpec) -> Rows | None:
        if self._state is None:
            return None
        window = feature.window.microseconds if feature.window is not None else None
        if window not in self._parts:
            rows = self._state.rows
            end = np.searchsorted(rows.times, self._as_of)
            start = 0 if window is None else np.searchsorted(rows.times, self._as_of - window)
            self._parts[window] = rows.part(slice(start, end))
        return self._parts[window]

    def _sum(self, feature: FeatureSpec, asked: Asked) -> Any:
        rows = self._rows(feature)
        if rows is None or self._state is None:
            return None
        found = fold(asked, rows)
        return found if asked.folded is None else join(asked, self._state.folded[asked.folded], found)

    def _ratio(self, feature: FeatureSpec) -> float | None:
        sums = []
        for asked in self._measures[feature.name]:
            found = self._sum(feature, asked)
            sums.append(0 if found is None else len(found) if isinstance(found, set) else found)
        below = sum(sums[1:])
        return _finite(sums[0] / below) if below else None

    def _finished(self, feature: FeatureSpec, measure: Measure, found: Any) -> Any:  # noqa: PLR0911
        function = measure.function
        if function == "distinct":
            return 0 if found is None else len(found)
        if function in ADDED:
            return _typed(feature, 0 if found is None else found)
        if function == "weeks_since_last":
            weeks = None if found is None else (self._as_of - found - 1) // WEEK_US
            return weeks if measure.cap is None else measure.cap if weeks is None else min(weeks, measure.cap)
        if found is None:
            return None
        if function in ("days_since_last", "days_since_first"):
            return (self._as_of - found) / float(DAY_US)
        if function == "mean":
            return _finite(found[0] / found[1])
        if function in ("last", "last_size"):
            return _typed(feature, found[2])
        assert function in LATEST | EARLIEST | {"min", "max"}, function  # noqa: S101
        return _typed(feature, found)

    def _bins(self, rows: Rows) -> Array:
        return (self._as_of - rows.times - 1) // WEEK_US

    def _weeks(self, feature: FeatureSpec, asked: Asked) -> int:
        rows = self._rows(feature)
        return 0 if rows is None else len(np.unique(self._bins(chosen(asked, rows))))

    def _weights(self, measure: Measure, by: By | None, rows: Rows) -> tuple[Array, float]:
        """Weights of rows by their weeks, and what their sum is multiplied with."""
        assert measure.half_life_weeks is not None  # noqa: S101 - decayed_rate has one
        kept = 2.0 ** (-1 / measure.half_life_weeks)
        first = self._firsts.get((self._number, by), self._as_of - 1)
        oldest = max(0, (self._as_of - first - 1) // WEEK_US)
        return kept ** self._bins(rows).astype(float), (1 - kept) / (1 - kept ** (oldest + 1))

    def _decayed(self, feature: FeatureSpec, asked: Asked) -> float:
        rows = self._rows(feature)
        if rows is None or not len((rows := chosen(asked, rows)).times):
            return 0.0
        weights, factor = self._weights(asked.measure, None, rows)
        return float(weights.sum() * factor)

    def _array(self, feature: FeatureSpec, asked: Asked, by: By) -> Array:
        measure = asked.measure
        nothing = float(measure.cap or 0)
        width = self._widths[by[1]]
        rows = self._rows(feature)
        if rows is None:
            return dense_array(np.full(width, nothing), nothing)
        if feature.window is None and measure.function != "decayed_rate":
            found = self._sum(feature, asked)
            return dense_array(self._spread(measure, found, width, nothing), nothing)
        return dense_array(self._counted(asked, by, chosen(asked, rows), width, nothing), nothing)

    def _spread(self, measure: Measure, found: Any, width: int, nothing: float) -> Array:
        """A sum of rows by position, as an array."""
        values = np.full(width, nothing)
        if measure.function == "distinct":
            for position, _ in found or ():
                values[position] += 1
            return values
        for position, value in (found or {}).items():
            if measure.function == "weeks_since_last":
                values[position] = min((self._as_of - value - 1) // WEEK_US, measure.cap or 0)
            else:
                values[position] = value
        return values

    def _counted(self, asked: Asked, by: By, rows: Rows, width: int, nothing: float) -> Array:
        """Rows of a window by position, as an array: as `_spread` of `fold`, several times faster."""
        positions = rows.positions[asked.grouping or 0]
        known = positions >= 0
        measure, function = asked.measure, asked.measure.function
        if function == "decayed_rate":
            rows, positions = rows.part(known), positions[known]
            weights, factor = self._weights(measure, by, rows)
            return np.bincount(positions, weights, width) * factor
        if function == "count":
            return np.bincount(positions[known], minlength=width).astype(float)
        if function in ("distinct_weeks", "count_events"):
            of = self._bins(rows) if function == "distinct_weeks" else rows.sequences
            _, of = np.unique(of[known], return_inverse=True)
            pairs = np.unique(of * width + positions[known])
            return np.bincount(pairs % width, minlength=width).astype(float)
        if function == "sum":
            values = column_of(asked, rows)
            assert values is not None  # noqa: S101 - it has a column
            there = present(values)
            there = there[known[there]]
            return np.bincount(positions[there], values[there], width)
        return self._spread(measure, fold(asked, rows), width, nothing)


def _typed(feature: FeatureSpec, value: Any) -> Any:
    if feature.type == "time":
        return EPOCH + timedelta(seconds=value // SECOND_US)
    if feature.type == "bool":
        return bool(value)
    if feature.type == "float":
        return _finite(float(value))
    if feature.type == "int":
        return value if -_LARGEST - 1 <= value <= _LARGEST else None
    return value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
