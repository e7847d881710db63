"""Snapshots as of T against a recomputation in plain Python, and against a history cut at T."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.errors import SnapshotMissing
from feature_repo.history import History, HistoryEvent
from feature_repo.snapshots import Snapshots
from feature_repo.specs import load_specs

WORDS = ("apples", "bread", "cheese")
SPECS = load_specs(vocabularies={"arm_category": WORDS})
START = datetime(2025, 1, 1, tzinfo=UTC)
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
NEVER = 53

lines = st.fixed_dictionaries(
    {
        "category": st.sampled_from([WORDS[0], WORDS[0], *WORDS[1:], "dates", None]),
        "quantity": st.integers(0, 3),
        "value": st.sampled_from([0.0, 0.5, 2.25, 10.0, math.nan]),
        "discount": st.sampled_from([0.0, 0.25, 1.0]),
    }
)
AS_OF = START + 60 * WEEK
MICROSECOND = timedelta(microseconds=1)
# Often exactly on the border of a window, just beside it, at the same moment as another, or not before T.
BORDERS = [0, 1, 2, 4, 8, 12, 26, 52, 53]
moments = st.builds(
    lambda weeks, off: AS_OF - weeks * WEEK + off,
    st.sampled_from(BORDERS),
    st.sampled_from([timedelta(0), MICROSECOND, -MICROSECOND, -DAY, DAY]),
)


@st.composite
def orders(draw: st.DrawFn) -> tuple[str, str, datetime, dict[str, Any]]:
    items = draw(st.lists(lines, max_size=3))
    properties: dict[str, Any] = {
        "value": draw(st.sampled_from([0.0, 1.5, 20.0, None])),
        "lines": items,
        "categories": list(dict.fromkeys(i["category"] for i in items if i["category"] is not None)),
    }
    return "order_completed", draw(st.sampled_from("ab")), draw(moments), properties


traits = st.builds(
    lambda user, moment, age: ("identify", user, moment, {"age": age, "income": "35-49K"}),
    st.sampled_from("abc"),
    moments,
    st.sampled_from(["19-24", "65+", None]),
)
histories = st.lists(orders() | traits, min_size=4, max_size=16).map(
    lambda drawn: [HistoryEvent(i, user, name, at, p) for i, (name, user, at, p) in enumerate(drawn, start=1)]
)


def compute(events: Iterable[HistoryEvent], as_of: datetime) -> dict[str, pa.Table]:
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder) / "history", SPECS.events)
        history.append(events)
        return Snapshots(Path(folder) / "snapshots", SPECS, history).compute(as_of)


def by_user(tables: dict[str, pa.Table]) -> dict[str, dict[str, Any]]:
    users: dict[str, dict[str, Any]] = {}
    for view in SPECS.views.values():
        if view.of_users:
            for row in tables[view.name].to_pylist():
                users.setdefault(row["user_id"], {}).update(row)
    return users


def usable(number: float | None) -> float | None:
    return None if number is None or math.isnan(number) else number


def total(numbers: Iterable[float | None]) -> float:
    return sum(n for n in numbers if usable(n) is not None and n is not None)


class Recomputed:
    """Features of one user from the events before T, one at a time and without any sharing."""

    def __init__(self, events: list[HistoryEvent], user: str, as_of: datetime) -> None:
        self.as_of = as_of
        mine = [e for e in events if e.user_id == user and e.occurred_at < as_of]
        self.every = sorted(mine, key=lambda e: (e.occurred_at, e.sequence))
        self.orders = [e for e in self.every if e.name == "order_completed"]
        known = [
            e
            for e in events
            if e.name == "order_completed"
            and e.occurred_at < as_of
            and {*WORDS} & {*e.properties["categories"]}
        ]
        self.weeks_of_history = max((self.week(e) + 1 for e in known), default=0)

    def week(self, event: HistoryEvent) -> int:
        return math.ceil((self.as_of - event.occurred_at) / WEEK) - 1

    def within(self, weeks: int) -> list[HistoryEvent]:
        return [e for e in self.orders if e.occurred_at >= self.as_of - weeks * WEEK]

    def lines(self, weeks: int) -> list[dict[str, Any]]:
        return [line for e in self.within(weeks) for line in e.properties["lines"]]

    def latest(self, name: str, column: str) -> Any:
        found = [e.properties.get(column) for e in self.every if e.name == name]
        return next((value for value in reversed(found) if value is not None), None)

    def per_word(self, count: Callable[[str], float]) -> list[float]:
        return [count(word) for word in WORDS]

    def buying(self, word: str, weeks: int) -> list[HistoryEvent]:
        return [e for e in self.within(weeks) if any(i["category"] == word for i in e.properties["lines"])]

    def weeks_bought(self, word: str, weeks: int) -> int:
        return len({self.week(e) for e in self.buying(word, weeks)})

    def baskets(self, word: str, weeks: int) -> int:
        return len(self.buying(word, weeks))

    def decayed_rate(self, word: str, half_life: float) -> float:
        bought = [self.week(e) for e in self.orders if word in e.properties["categories"]]
        weights = sum(2.0 ** (-week / half_life) for week in range(self.weeks_of_history))
        return sum(2.0 ** (-week / half_life) for week in bought) / weights if bought else 0.0

    def features(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for w in (4, 12, 52):
            found[f"orders_{w}w"] = len(self.within(w))
            found[f"value_{w}w"] = total(e.properties["value"] for e in self.within(w))
        ages = [(self.as_of - e.occurred_at) / DAY for e in self.orders]
        found["days_since_last_order"] = min(ages, default=None)
        found["days_since_first_order"] = max(ages, default=None)
        values = [v for e in self.within(12) if (v := e.properties["value"]) is not None]
        found["mean_basket_value_12w"] = sum(values) / len(values) if values else None
        found["categories_12w"] = len({c for e in self.within(12) for c in e.properties["categories"]})
        for w in (2, 4, 8, 12, 26, 52):
            found[f"category_weeks_{w}w"] = self.per_word(partial(self.weeks_bought, weeks=w))
        for w in (12, 52):
            found[f"category_baskets_{w}w"] = self.per_word(partial(self.baskets, weeks=w))
        found["category_weeks_since_last"] = self.per_word(
            lambda c: min((min(self.week(e), NEVER) for e in self.buying(c, 10_000)), default=NEVER)
        )
        found["category_value_12w"] = self.per_word(
            lambda c: total(line["value"] for line in self.lines(12) if line["category"] == c)
        )
        for half_life in (8, 40):
            found[f"category_rate_hl{half_life}"] = self.per_word(
                partial(self.decayed_rate, half_life=half_life)
            )
        off = total(line["discount"] for line in self.lines(12))
        paid = total(line["value"] for line in self.lines(12))
        found["discount_share_12w"] = off / (paid + off) if paid + off else None
        count = len(self.lines(12))
        discounted = sum(line["discount"] > 0 for line in self.lines(12))
        found["discounted_lines_share_12w"] = discounted / count if count else None
        found["age"] = self.latest("identify", "age")
        found["income"] = self.latest("identify", "income")
        found["last_order_at"] = seconds(self.orders[-1].occurred_at) if self.orders else None
        found["last_order_value"] = self.latest("order_completed", "value")
        found["last_order_items"] = len(self.orders[-1].properties["lines"]) if self.orders else None
        found["last_event_at"] = seconds(self.every[-1].occurred_at)
        return found


def seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def close(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and b is not None:
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    return bool(a == b)


def examples(number: int) -> settings:
    return settings(max_examples=number, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@examples(20)
@given(events=histories)
def test_features_equal_a_recomputation_in_plain_python(events: list[HistoryEvent]) -> None:
    found = by_user(compute(events, AS_OF))
    assert set(found) == {e.user_id for e in events if e.occurred_at < AS_OF}
    for user, row in found.items():
        expected = Recomputed(events, user, AS_OF).features()
        wrong = {name: (row[name], value) for name, value in expected.items() if not close(row[name], value)}
        assert not wrong
        assert row["event_timestamp"] == AS_OF


@examples(6)
@given(events=histories, weeks=st.sampled_from(BORDERS))
def test_what_happens_from_t_on_changes_nothing(events: list[HistoryEvent], weeks: int) -> None:
    as_of = AS_OF - weeks * WEEK
    whole = compute(events, as_of)
    cut = compute([e for e in events if e.occurred_at < as_of], as_of)
    assert whole.keys() == cut.keys()
    for view, table in whole.items():
        assert table.equals(cut[view])


def order(sequence: int, user: str, at: datetime, *categories: str) -> HistoryEvent:
    items = [{"category": c, "quantity": 1, "value": 1.0, "discount": 0.0} for c in categories]
    properties = {"value": float(len(items)), "lines": items, "categories": list(categories)}
    return HistoryEvent(sequence, user, "order_completed", at, properties)


def test_an_event_at_t_is_not_seen_and_one_a_week_old_is_in_the_newest_week() -> None:
    as_of = START + 10 * WEEK
    events = [
        order(1, "a", as_of - WEEK, "apples"),
        order(2, "a", as_of, "bread"),
        order(3, "b", as_of, "bread"),
    ]
    found = by_user(compute(events, as_of))
    assert set(found) == {"a"}
    assert found["a"]["category_weeks_since_last"] == [0.0, NEVER, NEVER]


def test_the_base_rate_is_the_share_of_known_users_a_fortnight() -> None:
    as_of = START + 20 * WEEK
    events = [
        order(1, "a", as_of - 1 * DAY, "apples"),
        order(2, "a", as_of - 2 * DAY, "apples"),  # the same user in the same fortnight counts once
        order(3, "b", as_of - 15 * DAY, "apples"),
        order(4, "a", as_of - 16 * DAY, "apples"),
        order(5, "c", as_of - 13 * WEEK, "apples", "bread"),  # known, but before the windows
    ]
    (row,) = compute(events, as_of)["category_base_rate"].to_pylist()
    assert row["catalogue_id"] == "all"
    assert row["category_base_rate_4w"] == pytest.approx([(1 + 2) / (3 * 2), 0, 0])
    assert row["category_base_rate_12w"] == pytest.approx([(1 + 2) / (3 * 6), 0, 0])


def test_an_empty_history_gives_empty_tables_and_one_row_of_the_population() -> None:
    tables = compute([], START)
    assert tables["user_rfm"].num_rows == 0
    assert tables["category_base_rate"].to_pylist()[0]["category_base_rate_4w"] == [0.0, 0.0, 0.0]


def test_snapshots_are_kept_and_replaced(tmp_path: Path) -> None:
    history = History(tmp_path / "history", SPECS.events)
    snapshots = Snapshots(tmp_path / "snapshots", SPECS, history)
    as_of = START + WEEK
    with pytest.raises(SnapshotMissing, match="view 'user_rfm' was not computed as of 2025-01-08"):
        snapshots.read("user_rfm", as_of)
    history.append([order(1, "a", START, "apples")])
    snapshots.write(as_of)
    assert snapshots.read("user_rfm", as_of).num_rows == 1
    history.append([order(2, "b", START, "apples")])
    snapshots.write(as_of)
    assert snapshots.read("user_rfm", as_of)["user_id"].to_pylist() == ["a", "b"]
    assert len(list((tmp_path / "snapshots" / "user_rfm").iterdir())) == 1


def test_of_two_events_at_the_same_moment_the_later_recorded_is_the_last() -> None:
    events = [order(1, "a", START, "apples"), order(2, "a", START, "apples", "bread"), order(3, "a", START)]
    row = by_user(compute(events, START + DAY))["a"]
    assert (row["last_order_items"], row["last_order_value"]) == (0, 0.0)


def test_every_function_and_type(tmp_path: Path) -> None:
    kinds = {"n": "int", "x": "float", "word": "text", "ok": "bool", "at": "time", "tags": ["text"]}
    asked: dict[str, tuple[dict[str, Any], Any]] = {
        "sum_n": ({"function": "sum", "column": "n"}, 6),
        "mean_n": ({"function": "mean", "column": "n"}, 2.0),
        "min_x": ({"function": "min", "column": "x"}, -1.5),
        "max_at": ({"function": "max", "column": "at"}, START + DAY),
        "last_ok": ({"function": "last", "column": "ok"}, False),
        "last_at": ({"function": "last", "column": "at"}, START),
        "sizes": ({"function": "last_size", "column": "tags"}, 2),
        "first": ({"function": "first_time"}, START),
        "weeks_ago": ({"function": "weeks_since_last"}, 1),
        "capped": ({"function": "weeks_since_last", "cap": 9, "where": [where("word", "=", "no")]}, 9),
        "never": ({"function": "weeks_since_last", "cap": 9, "event": "quiet"}, 9),
        "words": ({"function": "distinct", "column": "word"}, 2),
        "tags": ({"function": "distinct", "column": "tags", "each": "tags"}, 3),
        "tagged": ({"function": "count_events", "each": "tags"}, 2),
        "big": ({"function": "count", "where": [where("x", ">=", 2), where("ok", "=", True)]}, 1),
        "either": ({"function": "count", "where": [where("word", "in", ["it's", "b"])]}, 3),
        "share": ({"ratio": {"of": {"function": "sum", "column": "n"}, "to": [{"function": "count"}]}}, 2.0),
        "all_events": ({"function": "count", "event": "any"}, 3),
    }
    view = {"entity": "user", "event": "e", "features": [{"name": n, **f} for n, (f, _) in asked.items()]}
    document = {"entities": {"user": {"key": "user_id"}}, "views": {"v": view}, "services": {}}
    (tmp_path / "events.yaml").write_text(yaml.safe_dump({"events": {"e": kinds, "quiet": {"n": "int"}}}))
    (tmp_path / "aggregates.yaml").write_text(yaml.safe_dump(document))
    specs = load_specs(tmp_path / "events.yaml", tmp_path / "aggregates.yaml", {})
    properties: list[dict[str, Any]] = [
        {"n": 1, "x": -1.5, "word": "it's", "ok": True, "at": START + DAY, "tags": ["a", "b"]},
        {"n": 2, "x": 2.0, "word": "b", "ok": True},
        {"n": 3, "x": 8.0, "word": "b", "ok": False, "at": START, "tags": ["b", "c"]},
    ]
    history = History(tmp_path / "history", specs.events)
    history.append(HistoryEvent(i + 1, "a", "e", START + i * DAY, p) for i, p in enumerate(properties))
    tables = Snapshots(tmp_path, specs, history).compute(START + 2 * DAY + WEEK + DAY)
    (row,) = tables["v"].to_pylist()
    assert {name: row[name] for name in asked} == {name: value for name, (_, value) in asked.items()}


def where(column: str, compare: str, value: Any) -> dict[str, Any]:
    return {"column": column, "is": compare, "value": value}


def test_windows_in_minutes_hours_and_days_end_where_they_say(tmp_path: Path) -> None:
    windows = ["10m", "12h", "3d", "90d", "1w", 2]
    view = {
        "entity": "user",
        "event": "seen",
        "features": [{"name": "views", "function": "count", "windows": windows}],
    }
    document = {"entities": {"user": {"key": "user_id"}}, "views": {"v": view}, "services": {}}
    (tmp_path / "events.yaml").write_text(yaml.safe_dump({"events": {"seen": {"page": "text"}}}))
    (tmp_path / "aggregates.yaml").write_text(yaml.safe_dump(document))
    specs = load_specs(tmp_path / "events.yaml", tmp_path / "aggregates.yaml", {})
    lengths = [timedelta(minutes=10), timedelta(hours=12), 3 * DAY, 90 * DAY, WEEK, 2 * WEEK]
    history = History(tmp_path / "history", specs.events)
    # For each window one event just in it and one just out of it.
    times = [AS_OF - length - off for length in lengths for off in (timedelta(0), MICROSECOND)]
    history.append(HistoryEvent(i, "a", "seen", at, {}) for i, at in enumerate(times, start=1))
    (row,) = Snapshots(tmp_path, specs, history).compute(AS_OF)["v"].to_pylist()
    for name, length in zip(windows, lengths, strict=True):
        suffix = name if isinstance(name, str) else f"{name}w"
        assert row[f"views_{suffix}"] == sum(at >= AS_OF - length for at in times)


def test_a_sum_beyond_64_bits_is_unknown_and_the_last_element_of_a_list_is_its_latest(tmp_path: Path) -> None:
    view = {
        "entity": "user",
        "event": "e",
        "features": [
            {"name": "total", "function": "sum", "column": "n"},
            {"name": "latest", "function": "last", "column": "word", "each": "items"},
        ],
    }
    document = {"entities": {"user": {"key": "user_id"}}, "views": {"v": view}, "services": {}}
    (tmp_path / "events.yaml").write_text(
        yaml.safe_dump({"events": {"e": {"n": "int", "items": [{"word": "text"}]}}})
    )
    (tmp_path / "aggregates.yaml").write_text(yaml.safe_dump(document))
    specs = load_specs(tmp_path / "events.yaml", tmp_path / "aggregates.yaml", {})
    history = History(tmp_path / "history", specs.events)
    words = [{"word": f"w{n}"} for n in range(50)]
    history.append(
        HistoryEvent(i, "a", "e", START, {"n": 2**62, "items": [*words, {"word": None}]}) for i in (1, 2)
    )
    (row,) = Snapshots(tmp_path, specs, history).compute(AS_OF)["v"].to_pylist()
    assert (row["total"], row["latest"]) == (None, "w49")


def test_events_of_other_ids_of_a_user_are_the_users() -> None:
    def bought(user: str, sequence: int) -> HistoryEvent:
        properties = {"value": 2.0, "lines": [], "categories": ["apples"]}
        return HistoryEvent(sequence, user, "order_completed", AS_OF - sequence * DAY, properties)

    events = [bought("a", 1), bought("anonymous:x", 2), bought("b", 3)]
    renamed = [event._replace(user_id="a") if event.user_id != "b" else event for event in events]
    with tempfile.TemporaryDirectory() as root:
        history = History(Path(root) / "history", SPECS.events)
        history.append(events)
        joined = Snapshots(Path(root), SPECS, history).compute(AS_OF, {"anonymous:x": "a"})
    assert by_user(joined) == by_user(compute(renamed, AS_OF))
