"""The engine of the present against DuckDB over the history, feature by feature, on random events."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.history import History, HistoryEvent
from feature_repo.incremental.plan import By, Plan, make_plan
from feature_repo.incremental.rows import microseconds
from feature_repo.incremental.user import UserState, decode_state, encode_state, take
from feature_repo.incremental.values import features_of
from feature_repo.snapshots import Snapshots
from feature_repo.specs import Specs, load_specs

T = datetime(2026, 1, 5, 12, tzinfo=UTC)
MICROSECOND, SECOND, DAY, WEEK = (
    timedelta(microseconds=1),
    timedelta(seconds=1),
    timedelta(days=1),
    timedelta(weeks=1),
)
EVENTS: dict[str, Any] = {
    "paid": {
        "amount": "float",
        "points": "int",
        "shop": "text",
        "gift": "bool",
        "due": "time",
        "labels": ["text"],
        "sizes": ["float"],
        "items": [{"kind": "text", "n": "int", "price": "float", "at": "time"}],
    },
    "seen": {"page": "text"},
}
KINDS = ("apples", "bread", "cheese")
WINDOWS: list[Any] = ["10m", "12h", "3d", 2, "90d", 20]
LONGEST = 20 * WEEK


def feature(name: str, function: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "function": function, **more}


def everything() -> dict[str, Any]:
    """Every function, with and without windows, filters, `each` and `by`."""
    big = [{"column": "amount", "is": ">=", "value": 2}]
    either = [
        {"column": "shop", "is": "in", "value": ["a", "it's"]},
        {"column": "gift", "is": "!=", "value": True},
    ]
    soon = [{"column": "due", "is": "<", "value": "2026-01-01T00:00:00Z"}]
    both: list[dict[str, Any]] = []
    for suffix, windows in (("", []), ("_in", WINDOWS)):
        weeks = [2, 20] if windows else []
        both += [
            feature(f"count{suffix}", "count", windows=windows),
            feature(f"big{suffix}", "count", windows=windows, where=big),
            feature(f"either{suffix}", "sum", column="points", windows=windows, where=either),
            feature(f"soon{suffix}", "count", windows=windows, where=soon),
            feature(f"shops{suffix}", "distinct", column="shop", windows=windows),
            feature(f"amounts{suffix}", "distinct", column="amount", windows=windows),
            feature(f"total{suffix}", "sum", column="amount", windows=windows),
            feature(f"points{suffix}", "sum", column="points", windows=windows),
            feature(f"mean{suffix}", "mean", column="amount", windows=windows),
            feature(f"mean_points{suffix}", "mean", column="points", windows=windows),
            feature(f"least{suffix}", "min", column="amount", windows=windows),
            feature(f"most{suffix}", "max", column="points", windows=windows),
            feature(f"first_due{suffix}", "min", column="due", windows=windows),
            feature(f"last_shop{suffix}", "last", column="shop", windows=windows),
            feature(f"last_gift{suffix}", "last", column="gift", windows=windows),
            feature(f"last_amount{suffix}", "last", column="amount", windows=windows, where=either),
            feature(f"last_due{suffix}", "last", column="due", windows=windows),
            feature(f"last_labels{suffix}", "last_size", column="labels", windows=windows),
            feature(f"last_time{suffix}", "last_time", windows=windows),
            feature(f"first_time{suffix}", "first_time", windows=windows),
            feature(f"since_last{suffix}", "days_since_last", windows=windows, where=big),
            feature(f"since_first{suffix}", "days_since_first", windows=windows),
            feature(f"weeks_ago{suffix}", "weeks_since_last", windows=windows),
            feature(f"weeks_capped{suffix}", "weeks_since_last", windows=windows, cap=5, where=big),
            feature(f"item_events{suffix}", "count_events", each="items", windows=windows),
            feature(f"last_kind{suffix}", "last", column="kind", each="items", windows=windows),
            feature(f"last_price{suffix}", "max", column="price", each="items", windows=windows),
            feature(f"labels{suffix}", "distinct", column="labels", each="labels", windows=windows),
            feature(f"size_sum{suffix}", "sum", column="sizes", each="sizes", windows=windows),
            feature(f"any{suffix}", "count", event="any", windows=windows),
            feature(f"any_last{suffix}", "last_time", event="any", windows=windows),
            {
                "name": f"share{suffix}",
                "windows": windows,
                "ratio": {
                    "of": {"function": "sum", "column": "amount", "where": big},
                    "to": [{"function": "sum", "column": "points"}, {"function": "count"}],
                },
            },
        ]
        if weeks:
            both += [
                feature("weeks", "distinct_weeks", windows=weeks),
                feature("weeks_big", "distinct_weeks", windows=weeks, where=big),
                feature("weeks_any", "distinct_weeks", event="any", windows=weeks),
            ]
    rates = [
        feature("rate", "decayed_rate", half_life_weeks=3, event="seen"),
        feature(
            "rate_page",
            "decayed_rate",
            half_life_weeks=8,
            event="seen",
            where=[{"column": "page", "is": "=", "value": "p"}],
        ),
    ]
    grouped: list[dict[str, Any]] = []
    for suffix, windows in (("", []), ("_in", WINDOWS)):
        grouped += [
            feature(f"k_count{suffix}", "count", windows=windows),
            feature(f"k_events{suffix}", "count_events", windows=windows),
            feature(f"k_sum{suffix}", "sum", column="price", windows=windows),
            feature(
                f"k_n{suffix}",
                "sum",
                column="n",
                windows=windows,
                where=[{"column": "price", "is": ">", "value": 1.5}],
            ),
            feature(f"k_distinct{suffix}", "distinct", column="n", windows=windows),
            feature(f"k_ago{suffix}", "weeks_since_last", windows=windows, cap=7),
        ]
    grouped.append(feature("k_weeks", "distinct_weeks", windows=[2, 20]))
    by = {"column": "kind", "vocabulary": "kinds"}
    return {
        "entities": {"user": {"key": "user_id"}, "all": {"key": "all_id", "only": "all"}},
        "views": {
            "plain": {"entity": "user", "event": "paid", "features": [*both, *rates]},
            "grouped": {"entity": "user", "event": "paid", "each": "items", "by": by, "features": grouped},
            "rated": {
                "entity": "user",
                "event": "paid",
                "each": "labels",
                "by": {"column": "labels", "vocabulary": "kinds"},
                "features": [
                    feature("k_rate", "decayed_rate", half_life_weeks=8),
                    feature("k_labels", "count", windows=[2]),
                    feature("k_labels_ever", "count"),
                ],
            },
            "population": {
                "entity": "all",
                "event": "paid",
                "features": [feature("share_of_all", "share_of_users", period_weeks=2, windows=[4])],
            },
        },
        "services": {"decide": ["plain", "grouped", "rated"]},
    }


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Specs:
    folder = tmp_path_factory.mktemp("specs")
    (folder / "events.yaml").write_text(yaml.safe_dump({"events": EVENTS}))
    (folder / "aggregates.yaml").write_text(yaml.safe_dump(everything(), sort_keys=False))
    return load_specs(folder / "events.yaml", folder / "aggregates.yaml", {"kinds": KINDS})


odd: st.SearchStrategy[Any] = st.sampled_from([None, math.nan, math.inf, True, "7", [], {}, "\ud800", 10**30])
numbers = st.sampled_from([0, 1, 2, 2.5, -3.25, 0.1, 100, 1e-3, 7.0])
words = st.sampled_from([*KINDS, *KINDS, "a", "it's", "größer", ""])
dates = st.sampled_from(["2025-12-31T23:59:59.5Z", "2026-03-01", "1969-12-31T23:59:58.25+01:00", "soon"])


def mostly(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, values, values, odd)


items = st.lists(
    mostly(
        st.fixed_dictionaries(
            {},
            optional={
                "kind": mostly(words),
                "n": mostly(numbers),
                "price": mostly(numbers),
                "at": mostly(dates),
            },
        )
    ),
    max_size=4,
)
paid = st.tuples(
    st.just("paid"),
    st.fixed_dictionaries(
        {"amount": mostly(numbers)},
        optional={
            "points": mostly(numbers),
            "shop": mostly(words),
            "gift": mostly(st.booleans()),
            "due": mostly(dates),
            "labels": mostly(st.lists(mostly(words), max_size=4)),
            "sizes": mostly(st.lists(mostly(numbers), max_size=3)),
            "items": mostly(items),
        },
    ),
)
seen = st.tuples(st.just("seen"), st.fixed_dictionaries({"page": mostly(st.sampled_from("pq"))}))
LENGTHS = [timedelta(minutes=10), timedelta(hours=12), 3 * DAY, 2 * WEEK, 90 * DAY, LONGEST, 7 * WEEK, WEEK]
# On the edges of windows seen from T, just beside them, at one moment, long ago, and after T.
moments = st.builds(
    lambda base, off: T - base + off,
    st.sampled_from([*LENGTHS, LONGEST + 40 * WEEK, LONGEST + 2 * DAY, timedelta(0), 23 * WEEK]),
    st.sampled_from([timedelta(0), MICROSECOND, -MICROSECOND, SECOND / 4, -DAY, timedelta(hours=20)]),
)
# Long before the others, so that rows leave every window and become sums, in order or late.
ancient = st.builds(
    lambda base, off: T - base + off,
    st.sampled_from([0 * DAY, LONGEST + 30 * DAY, LONGEST + 40 * WEEK, LONGEST + 41 * WEEK, 100 * WEEK]),
    st.sampled_from([timedelta(0), MICROSECOND, -DAY]),
)
old_histories = st.lists(st.tuples(paid, ancient, st.just("a")), min_size=3, max_size=9)
histories = st.lists(st.tuples(paid | seen, moments, st.sampled_from("ab")), min_size=1, max_size=14)


def recorded(drawn: Sequence[tuple[tuple[str, dict[str, Any]], datetime, str]]) -> list[HistoryEvent]:
    return [
        HistoryEvent(i, user, name, at, properties)
        for i, ((name, properties), at, user) in enumerate(drawn, start=1)
    ]


def by_duckdb(specs: Specs, events: Iterable[HistoryEvent], as_of: datetime) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder) / "history", specs.events)
        history.append(events)
        tables = Snapshots(Path(folder) / "snapshots", specs, history).compute(as_of)
    users: dict[str, dict[str, Any]] = {}
    for view in specs.views.values():
        if view.of_users:
            for row in tables[view.name].to_pylist():
                users.setdefault(row["user_id"], {}).update(
                    {name: value for name, value in row.items() if name not in ("user_id", "event_timestamp")}
                )
    return users


def incrementally(
    plan: Plan, events: Sequence[HistoryEvent], as_of: datetime, batch: int
) -> dict[str, dict[str, Any] | None]:
    """Values after taking the events a few at a time, each state going through its bytes in between."""
    states: dict[str, bytes] = {}
    firsts: dict[tuple[int, By | None], int] = {}
    for start in range(0, len(events), batch):
        some = events[start : start + batch]
        for user in sorted({event.user_id for event in some}):
            state = decode_state(plan, states[user]) if user in states else UserState()
            found = take(plan, state, [event for event in some if event.user_id == user])
            for of, first in found.items():
                firsts[of] = min(first, firsts.get(of, first))
            states[user] = encode_state(state)
    return {
        user: features_of(plan, decode_state(plan, data), microseconds(as_of), firsts)
        for user, data in states.items()
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        # 32-bit floats: two sums that differ in their last bit may round to neighbours.
        return bool(np.allclose(one, np.asarray(other, np.float32), rtol=2e-7, atol=1e-12))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return type(one) is type(other) and bool(one == other)


def assert_equal(
    plan: Plan, specs: Specs, events: Sequence[HistoryEvent], as_of: datetime, batch: int
) -> None:
    expected = by_duckdb(specs, events, as_of)
    found = {
        user: values
        for user, values in incrementally(plan, events, as_of, batch).items()
        if values is not None
    }
    assert found.keys() == expected.keys()
    for user, values in found.items():
        assert values.keys() == expected[user].keys()
        wrong = {
            name: (value, expected[user][name])
            for name, value in values.items()
            if not same(value, expected[user][name])
        }
        assert not wrong


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    drawn=histories,
    batch=st.sampled_from([1, 3, 100]),
    later=st.sampled_from([timedelta(0), MICROSECOND, DAY, 9 * WEEK]),
)
def test_both_ways_give_the_same_answers(specs: Specs, drawn: Any, batch: int, later: timedelta) -> None:
    assert_equal(make_plan(specs), specs, recorded(drawn), T + later, batch)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(drawn=old_histories, batch=st.sampled_from([1, 2]))
def test_what_has_left_every_window_goes_on_counting(specs: Specs, drawn: Any, batch: int) -> None:
    assert_equal(make_plan(specs), specs, recorded(drawn), T + SECOND, batch)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(drawn=old_histories | histories, batch=st.sampled_from([1, 2, 100]))
def test_keeping_less_changes_nothing(specs: Specs, drawn: Any, batch: int) -> None:
    plan = make_plan(specs)
    everything_kept = plan._replace(sources=tuple(one._replace(keep_us=None) for one in plan.sources))
    events = recorded(drawn)
    as_of = max(event.occurred_at for event in events) + MICROSECOND
    lean = incrementally(plan, events, as_of, batch)
    whole = incrementally(everything_kept, events, as_of, 100)
    for user, values in whole.items():
        other = lean[user]
        assert (values is None) == (other is None)
        if values is not None and other is not None:
            assert not {
                name: (other[name], one) for name, one in values.items() if not same(other[name], one)
            }
