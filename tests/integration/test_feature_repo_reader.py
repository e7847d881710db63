"""The port FeatureReader over real Feast."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from audiences.errors import FeaturesDamaged, FeaturesUnavailable, UnknownFeatures
from audiences.features import FeastFeatureReader, FeatureReader
from feature_repo.encoding import FLOAT
from feature_repo.history import HistoryEvent
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from storage.clock import SimulatedClock

T = datetime(2025, 3, 1, tzinfo=UTC)
# A number of eight bytes, cut short.
DAMAGED = bytes((FLOAT, 1, 2))


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[FeatureRepository]:
    repository = FeatureRepository(
        tmp_path / "features", load_specs(vocabularies={"arm_category": ["a", "b"]})
    )
    repository.apply()
    line = {"category": "b", "quantity": 1, "value": 4.0, "discount": 1.0}
    order = {"value": 4.0, "lines": [line], "categories": ["b"]}
    repository.history.append([HistoryEvent(1, "u", "order_completed", T - timedelta(days=1), order)])
    repository.snapshot(T)
    repository.publish(T)
    yield repository
    repository.close()


def test_features_of_a_user(repository: FeatureRepository) -> None:
    clock = SimulatedClock(T)
    reader: FeatureReader = FeastFeatureReader(repository, "training", clock)
    features = reader.read("u")
    assert not features.missing
    assert features.as_of == T
    assert features.stale == ()
    assert features.values["discount_share_12w"] == 0.2
    assert features.values["category_weeks_12w"].tolist() == [0.0, 1.0]
    assert features.values.keys() == reader.types.keys()
    assert reader.types["category_weeks_12w"] == "floats"
    assert reader.read("nobody").missing
    clock.move_to(T + timedelta(days=36))
    assert "orders_12w" in reader.read("u").stale


def test_a_service_that_is_not_declared_is_refused(repository: FeatureRepository) -> None:
    with pytest.raises(UnknownFeatures, match="no feature service 'everything'"):
        FeastFeatureReader(repository, "everything")


def test_a_store_that_cannot_be_read_is_said(repository: FeatureRepository) -> None:
    reader = FeastFeatureReader(repository)
    with sqlite3.connect(repository.root / "online.db") as connection:
        connection.execute("DROP TABLE nextplay_user_rfm")
    connection.close()
    with pytest.raises(FeaturesUnavailable, match="can't be read: no such table: nextplay_user_rfm"):
        reader.read("u")


def test_a_damaged_value_is_told_once_and_others_are_read(repository: FeatureRepository) -> None:
    reader = FeastFeatureReader(repository)
    with sqlite3.connect(repository.root / "online.db") as connection:
        connection.execute("UPDATE nextplay_user_rfm SET value = ?", (DAMAGED,))
    connection.close()
    with capture_logs() as told:
        for users in (["u"], ["nobody", "u"], ["u"]):
            with pytest.raises(FeaturesDamaged, match=r"damaged .* the next run of the job `features`"):
                reader.read_many(users)
            assert reader.read("nobody").missing
    assert [line["event"] for line in told] == ["features damaged"]
    repository.publish(T)
    assert not reader.read("u").missing
