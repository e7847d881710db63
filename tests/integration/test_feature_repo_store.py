"""The repository with real Feast: parity of offline and online, push, ttl, and both ways into the store."""

from __future__ import annotations

import math
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_repo.encoding import FLOAT, READERS, decode, stored_time, true_time
from feature_repo.errors import LayoutMismatch, SnapshotMissing, UnknownService
from feature_repo.history import HistoryEvent
from feature_repo.layout import DirectAccess
from feature_repo.live import Batch
from feature_repo.online import OnlineRow, SdkAccess
from feature_repo.proof import prove, same
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository

WORDS = ("apples", "bread", "cheese")
SPECS = load_specs(vocabularies={"arm_category": WORDS})
START = datetime(2025, 1, 1, tzinfo=UTC)
T1, T2 = START + timedelta(weeks=10), START + timedelta(weeks=12)
HOUR = timedelta(hours=1)
USERS = ["u0", "u1", "u2", "u3", "only-traits", "nobody"]


def history() -> Iterator[HistoryEvent]:
    yield HistoryEvent(1, "only-traits", "identify", START, {"age": "65+", "income": None})
    for n in range(2, 120):
        items: list[dict[str, Any]] = [
            {"category": WORDS[(n + i) % 3], "quantity": 1, "value": n / 7, "discount": float(i)}
            for i in range(n % 4)
        ]
        properties = {
            "value": math.nan if n == 117 else n * 1.25,
            "lines": items,
            "categories": sorted({item["category"] for item in items}),
        }
        yield HistoryEvent(n, f"u{n % 4}", "order_completed", START + timedelta(hours=17 * n), properties)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureRepository]:
    repository = FeatureRepository(tmp_path_factory.mktemp("features"), SPECS)
    repository.apply()
    repository.history.append(history())
    for as_of in (T1, T2):
        repository.snapshot(as_of)
    repository.publish(T2)
    yield repository
    repository.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[FeatureRepository]:
    repository = FeatureRepository(tmp_path / "features", SPECS)
    repository.apply()
    yield repository
    repository.close()


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and b is not None:
        return bool(np.array_equal(a, np.asarray(b, np.float32)))
    return bool(a == b)


def read_one(repository: FeatureRepository, user: str, now: datetime, service: str = "training") -> OnlineRow:
    return repository.online(service, [user], now)[0]


@pytest.mark.parametrize("service", ["decide", "audience_rules", "training"])
def test_historical_equals_online(repository: FeatureRepository, service: str) -> None:
    offline = repository.historical(service, USERS, T2)
    assert offline["user_id"].to_pylist() == USERS
    # Those of accounts are not online.
    offline = offline.select([name for name in offline.column_names if not name.startswith("account_")])
    for row, online in zip(offline.to_pylist(), repository.online(service, USERS, T2), strict=True):
        assert {n: v for n, v in row.items() if n != "user_id" and not equal(online.values[n], v)} == {}
        assert set(row) - {"user_id"} == set(online.values)


def test_historical_is_as_of_the_latest_snapshot_not_after_t(repository: FeatureRepository) -> None:
    then = repository.historical("training", ["u1"], T1 + HOUR).to_pylist()[0]
    snapshot = repository.snapshots.read("user_rfm", T1).to_pylist()
    assert then["value_52w"] == next(row["value_52w"] for row in snapshot if row["user_id"] == "u1")
    before = repository.historical("training", ["u1"], T1 - HOUR).to_pylist()[0]
    assert before["value_52w"] is None
    long_after = repository.historical("training", ["u1"], T2 + timedelta(days=36)).to_pylist()[0]
    assert long_after["value_52w"] is None
    assert long_after["last_order_value"] is not None


def test_values_have_their_types(repository: FeatureRepository) -> None:
    row = read_one(repository, "u1", T2)
    assert not row.missing
    assert row.as_of == T2
    assert row.stale == ()
    weeks = row.values["category_weeks_12w"]
    assert isinstance(weeks, np.ndarray)
    assert (weeks.dtype, weeks.shape) == (np.dtype(np.float32), (len(WORDS),))
    assert not weeks.flags.writeable
    assert type(row.values["orders_12w"]) is int
    assert type(row.values["value_12w"]) is float
    assert row.values["last_order_at"].tzinfo is not None


def test_nan_and_unknown_are_null(repository: FeatureRepository) -> None:
    # u1's latest order has NaN for its value, so the one before counts.
    assert read_one(repository, "u1", T2).values["last_order_value"] == 113 * 1.25
    traits = read_one(repository, "only-traits", T2).values
    assert (traits["age"], traits["income"], traits["orders_52w"]) == ("65+", None, 0)
    assert traits["days_since_last_order"] is None
    assert traits["last_order_at"] is None
    assert traits["discount_share_12w"] is None
    assert traits["category_weeks_since_last"].tolist() == [53.0] * 3


def test_a_missing_user_is_known_as_missing_and_still_has_the_population(
    repository: FeatureRepository,
) -> None:
    row = read_one(repository, "nobody", T2)
    assert row.missing
    assert row.as_of is None
    assert {name for name, value in row.values.items() if value is not None} == {
        "category_base_rate_4w",
        "category_base_rate_12w",
    }


def test_values_older_than_their_ttl_are_null_and_named(repository: FeatureRepository) -> None:
    at_the_end = T2 + timedelta(days=35)
    assert read_one(repository, "u1", at_the_end).stale == ()
    row = read_one(repository, "u1", at_the_end + timedelta(seconds=1))
    assert {"orders_12w", "category_weeks_12w", "discount_share_12w", "category_base_rate_4w"} <= set(
        row.stale
    )
    assert all(row.values[name] is None for name in row.stale)
    assert "last_order_value" not in row.stale
    assert row.values["last_order_value"] is not None
    assert not row.missing


def test_order_of_users_is_kept_and_repeats_allowed(repository: FeatureRepository) -> None:
    rows = repository.online("audience_rules", ["u2", "nobody", "u1", "u2"], T2)
    assert [row.missing for row in rows] == [False, True, False, False]
    assert rows[0].values == rows[3].values != rows[2].values
    assert repository.online("audience_rules", [], T2) == []


def test_unknown_services_views_and_times_are_said(repository: FeatureRepository) -> None:
    for ask in (repository.online, repository.historical):
        with pytest.raises(UnknownService, match="no feature service 'nothing'"):
            ask("nothing", ["u1"], T2)
    with pytest.raises(SnapshotMissing, match="take a snapshot first"):
        repository.publish(T2 + HOUR)


def test_both_ways_into_the_store_agree(repository: FeatureRepository) -> None:
    assert isinstance(repository.online_access, DirectAccess)
    sdk = SdkAccess(repository.feast, SPECS)
    for now in (T2, T2 + timedelta(days=40)):
        for service in SPECS.services:
            pairs = zip(repository.online(service, USERS, now), sdk.read(service, USERS, now), strict=True)
            assert all(same(direct, through_sdk) for direct, through_sdk in pairs)


def test_the_proof_leaves_nothing_behind(repository: FeatureRepository) -> None:
    prove(repository.online_access, SdkAccess(repository.feast, SPECS), SPECS)  # type: ignore[arg-type]
    with sqlite3.connect(repository.root / "online.db") as connection:
        found = connection.execute(
            "SELECT count(*) FROM nextplay_user_rfm WHERE instr(entity_key, CAST('proof' AS BLOB))"
        ).fetchone()
    assert found == (0,)


def order(sequence: int, user: str, at: datetime, value: Any, *categories: str) -> HistoryEvent:
    items = [{"category": c, "quantity": 1, "value": value, "discount": 0.0} for c in categories]
    properties = {"value": value, "lines": items, "categories": list(categories)}
    return HistoryEvent(sequence, user, "order_completed", at, properties)


def live(repository: FeatureRepository, *events: HistoryEvent) -> None:
    """Let events into the states, as the feed does."""
    if repository.live.position() is None:
        repository.live.rebuild([], 0)
    repository.live.take(lambda _: Batch(events, events[-1].sequence))


def test_a_push_is_read_back_by_both_ways(empty: FeatureRepository) -> None:
    live(empty, order(1, "new", T2, 12.5, "apples", "bread"))
    assert empty.push(T2 + HOUR) == 1
    row = read_one(empty, "new", T2 + HOUR)
    assert not row.missing
    assert row.as_of == T2 + HOUR
    assert row.values["orders_4w"] == 1
    assert row.values["days_since_last_order"] == 1 / 24
    assert (row.values["last_order_value"], row.values["last_order_items"]) == (12.5, 2)
    assert row.values["last_order_at"] == T2
    assert row.values["category_weeks_2w"].tolist() == [1.0, 1.0, 0.0]
    assert same(row, SdkAccess(empty.feast, SPECS).read("training", ["new"], T2 + HOUR)[0])
    assert empty.push(T2 + HOUR) == 0


def test_what_is_pushed_equals_what_is_published(empty: FeatureRepository) -> None:
    events = list(history())
    live(empty, *events)
    empty.push(T2)
    pushed = empty.online("training", USERS, T2)
    empty.history.append(events)
    empty.snapshot(T2)
    empty.publish(T2)
    for before, after in zip(pushed, empty.online("training", USERS, T2), strict=True):
        of_users = {n: v for n, v in after.values.items() if not n.startswith("category_base_rate")}
        assert {n: v for n, v in of_users.items() if not close(before.values[n], v)} == {}
        assert before[1:] == after[1:]


def close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9)
    return bool(np.allclose(a, b, rtol=2e-7)) if isinstance(a, np.ndarray) else bool(a == b)


def test_late_equal_and_unusable_events_are_right(empty: FeatureRepository) -> None:
    def now(*events: HistoryEvent) -> tuple[Any, Any, Any]:
        live(empty, *events)
        empty.push(T2)
        values = read_one(empty, "u", T2).values
        return values["orders_4w"], values["value_4w"], values["last_order_value"]

    assert now(order(1, "u", T2 - HOUR, 4.0)) == (1, 4.0, 4.0)
    # Late: it counts, but is not the last. Of the same moment: it counts, and is the last.
    assert now(order(2, "u", T2 - 2 * HOUR, 2.0)) == (2, 6.0, 4.0)
    assert now(order(3, "u", T2 - HOUR, 1.0)) == (3, 7.0, 1.0)
    assert now(order(4, "u", T2 - HOUR / 2, math.nan)) == (4, 7.0, 1.0)
    # Ahead of the clock: not yet.
    assert now(order(5, "u", T2 + HOUR, 9.0)) == (4, 7.0, 1.0)
    assert empty.push(T2 + HOUR) == 0
    assert empty.push(T2 + HOUR + timedelta(microseconds=1)) == 1
    assert read_one(empty, "u", T2 + HOUR).values["last_order_value"] == 9.0


def test_an_event_is_applied_once(empty: FeatureRepository) -> None:
    first = order(1, "u", T1, 1.0)
    live(empty, first)
    assert empty.live.states.apply([first], 0, 1) == 0
    empty.push(T2)
    assert read_one(empty, "u", T2).values["orders_52w"] == 1
    again = FeatureRepository(empty.root, SPECS)
    assert again.live.position() == 1
    again.close()


def test_many_users_in_one_push(empty: FeatureRepository) -> None:
    live(empty, *(order(n + 1, f"u{n}", T1, float(n)) for n in range(1_203)))
    assert empty.push(T2) == 1_203
    values = [row.values["last_order_value"] for row in empty.online("training", ["u0", "u777", "u1202"], T2)]
    assert values == [0.0, 777.0, 1202.0]


def test_publishing_undoes_no_push_but_fills_an_empty_store(empty: FeatureRepository) -> None:
    events = list(history())
    empty.history.append(events)
    empty.snapshot(T2)
    live(empty, *events, order(1_000, "u1", T2 - HOUR, 1.0))
    # Of the same moment as the snapshot, which lacks the event.
    empty.push(T2)
    empty.publish(T2, position=len(events) + 1)
    rows = empty.online("training", ["u1", "u2"], T2)
    assert rows[0].values["last_order_value"] == 1.0
    assert rows[1].values["last_order_value"] == 118 * 1.25
    # Of a later moment.
    live(empty, order(1_001, "u2", T2, 2.0))
    empty.push(T2 + HOUR)
    empty.publish(T2)
    assert read_one(empty, "u2", T2 + HOUR).values["last_order_value"] == 2.0
    assert read_one(empty, "u2", T2 + HOUR).as_of == T2 + HOUR


def test_an_older_snapshot_undoes_no_newer_one(empty: FeatureRepository) -> None:
    empty.history.append(history())
    for as_of in (T1, T2):
        empty.snapshot(as_of)
    empty.publish(T2)
    newest = read_one(empty, "u1", T2)
    empty.publish(T1)
    assert same(read_one(empty, "u1", T2), newest)


def test_readers_see_a_publish_whole_or_not_at_all(empty: FeatureRepository) -> None:
    empty.history.append(history())
    moments = [T1 + n * timedelta(days=1) for n in range(8)]
    for as_of in moments:
        empty.snapshot(as_of)
    empty.publish(T1)
    rows = [empty.historical("audience_rules", ["u1"], as_of).to_pylist()[0] for as_of in moments]
    allowed = {(row["value_52w"], row["discount_share_12w"]) for row in rows}
    assert len(allowed) > 2
    seen: set[tuple[Any, Any]] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            values = read_one(empty, "u1", T2, "audience_rules").values
            seen.add((values["value_52w"], values["discount_share_12w"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for as_of in moments:
        empty.publish(as_of)
    done.set()
    watcher.join()
    assert seen <= allowed


@pytest.mark.parametrize("foreign", [lambda data: data, lambda data: struct.unpack("<d", data)])
def test_without_proof_the_sdk_is_used(
    empty: FeatureRepository, monkeypatch: pytest.MonkeyPatch, foreign: Callable[[bytes], Any]
) -> None:
    monkeypatch.setitem(READERS, FLOAT, foreign)
    empty.refresh()
    assert isinstance(empty.online_access, SdkAccess)
    empty.history.append(history())
    empty.snapshot(T2)
    empty.publish(T2)
    row = read_one(empty, "u1", T2)
    assert row.values["orders_52w"] > 0
    assert row.values["category_weeks_52w"].shape == (3,)
    assert read_one(empty, "only-traits", T2).values["last_order_at"] is None
    live(empty, order(1_000, "u1", T2 - HOUR, 1.5))
    assert empty.push(T2) == 1
    assert read_one(empty, "u1", T2).values["last_order_value"] == 1.5


def test_applying_again_keeps_what_is_online(repository: FeatureRepository) -> None:
    before = read_one(repository, "u1", T2)
    repository.apply()
    assert same(read_one(repository, "u1", T2), before)


def test_threads_read_side_by_side(repository: FeatureRepository) -> None:
    expected = read_one(repository, "u1", T2)
    wrong: list[OnlineRow] = []

    def work() -> None:
        wrong.extend(row for _ in range(200) if not same(row := read_one(repository, "u1", T2), expected))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_unknown_kind_of_value_is_refused() -> None:
    with pytest.raises(LayoutMismatch, match="tag 0x2a"):
        decode(b"\x2a\x01")
    assert decode(b"") is None


def test_times_are_those_feast_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for zone in ("UTC", "Asia/Shanghai", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        try:
            assert true_time(stored_time(T2)) == int(T2.timestamp())
        finally:
            monkeypatch.delenv("TZ")
            time.tzset()
