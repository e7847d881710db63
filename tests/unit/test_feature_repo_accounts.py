"""Features of accounts: over the events of all users of an account, by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from feature_repo.errors import SpecError
from feature_repo.history import History, HistoryEvent
from feature_repo.online import ServicePlan
from feature_repo.snapshots import Snapshots
from feature_repo.specs import AGGREGATES, EVENTS, Specs, load_specs
from feature_repo.store import FeatureRepository

T = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
WORDS = {"arm_category": ("apples", "bread")}
# (user, name, before T, properties): ann and bob are of acme, eve of bolt, zoe of none.
DID: list[tuple[str, str, timedelta, dict[str, Any]]] = [
    ("ann", "order_completed", 2 * DAY, {"value": 10.0, "categories": ["apples"]}),
    ("ann", "order_completed", 5 * WEEK, {"value": 20.0, "categories": ["bread", "apples"]}),
    ("bob", "order_completed", 12 * WEEK, {"value": 5.5, "categories": ["apples"]}),
    ("bob", "order_completed", 53 * WEEK, {"value": 100.0}),
    ("eve", "identify", 6 * WEEK, {"age": "65+"}),
    ("zoe", "order_completed", DAY, {"value": 7.0}),
    ("bob", "order_completed", timedelta(0), {"value": 1_000.0}),
]
ACCOUNTS_OF = {"ann": "acme", "bob": "acme", "eve": "bolt", "nobody": "core"}


def computed(
    folder: Path, specs: Specs, accounts: dict[str, str] | None, canonicals: dict[str, str] | None = None
) -> Snapshots:
    """Snapshots with the view as of T, written."""
    history = History(folder / "history", specs.events)
    history.append(
        HistoryEvent(i, user, name, T - before, properties)
        for i, (user, name, before, properties) in enumerate(DID, start=1)
    )
    snapshots = Snapshots(folder / "snapshots", specs, history)
    snapshots.write(T, canonicals, accounts)
    return snapshots


def of_accounts(snapshots: Snapshots) -> dict[str, dict[str, Any]]:
    """The rows of the view by account."""
    rows = snapshots.read("account_rfm", T).to_pylist()
    return {row.pop("account_id"): row for row in rows}


def test_an_account_has_the_events_of_its_users(tmp_path: Path) -> None:
    found = of_accounts(computed(tmp_path, load_specs(vocabularies=WORDS), ACCOUNTS_OF))
    assert found == {
        "acme": {
            "account_orders_4w": 1,
            "account_orders_12w": 3,
            "account_orders_52w": 3,
            "account_value_4w": 10.0,
            "account_value_12w": 35.5,
            "account_value_52w": 35.5,
            "account_days_since_last_order": 2.0,
            "account_active_users_4w": 1,
            "account_active_users_12w": 2,
            "event_timestamp": T,
        },
        "bolt": {
            "account_orders_4w": 0,
            "account_orders_12w": 0,
            "account_orders_52w": 0,
            "account_value_4w": 0.0,
            "account_value_12w": 0.0,
            "account_value_52w": 0.0,
            "account_days_since_last_order": None,
            "account_active_users_4w": 0,
            "account_active_users_12w": 1,
            "event_timestamp": T,
        },
    }


def test_events_of_joined_profiles_count_for_the_account_of_their_person(tmp_path: Path) -> None:
    found = of_accounts(computed(tmp_path, load_specs(vocabularies=WORDS), ACCOUNTS_OF, {"zoe": "eve"}))
    assert (found["bolt"]["account_orders_12w"], found["bolt"]["account_active_users_12w"]) == (1, 1)


def test_features_of_users_are_the_same_with_accounts_and_without(tmp_path: Path) -> None:
    specs = load_specs(vocabularies=WORDS)
    with_accounts = computed(tmp_path / "a", specs, ACCOUNTS_OF)
    without = computed(tmp_path / "b", specs, None)
    for view in specs.views.values():
        if not view.of_accounts:
            assert with_accounts.read(view.name, T).equals(without.read(view.name, T)), view.name
    empty = without.read("account_rfm", T)
    assert empty.num_rows == 0
    assert empty.schema.equals(with_accounts.read("account_rfm", T).schema)


def test_elements_and_vocabularies_work_for_accounts_too(tmp_path: Path) -> None:
    specs = with_view(
        tmp_path,
        {
            "entity": "account",
            "event": "order_completed",
            "each": "categories",
            "features": [
                {"name": "bought", "function": "distinct", "column": "categories", "windows": [12]},
                {
                    "name": "baskets",
                    "function": "count_events",
                    "windows": [12],
                    "by": {"column": "categories", "vocabulary": "arm_category"},
                },
                {"name": "age", "function": "last", "column": "age", "event": "identify", "each": None},
            ],
        },
    )
    rows = computed(tmp_path, specs, ACCOUNTS_OF).read("more", T).to_pylist()
    assert [tuple(row.values())[:4] for row in rows] == [
        ("acme", 2, [3.0, 1.0], None),
        ("bolt", 0, [0.0, 0.0], "65+"),
    ]


def test_the_last_batch_of_an_account_is_shown(tmp_path: Path) -> None:
    specs = load_specs(vocabularies=WORDS)
    computed(tmp_path, specs, ACCOUNTS_OF)
    repository = FeatureRepository(tmp_path, specs)
    values, as_of = repository.account("acme", T + DAY)
    assert (values["orders_12w"], values["active_users_12w"], as_of) == (3, 2, T)
    assert repository.account("core", T) == (dict.fromkeys(values), T)
    assert repository.account("acme", T - DAY) == (dict.fromkeys(values), None)


def test_features_of_accounts_are_not_read_online() -> None:
    plan = ServicePlan(load_specs(), "audience_rules")
    assert not any(view.of_accounts for view in plan.views)
    assert "account_orders_12w" not in plan.empty


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ({"function": "distinct", "column": "user_id", "each": "lines"}, "unknown column 'user_id'"),
        ({"function": "distinct", "column": "value", "event": "any"}, "unknown column 'value'"),
        ({"function": "sum", "column": "user_id"}, "can't take column 'user_id'"),
        ({"function": "share_of_users", "period_weeks": 4, "windows": [4]}, "entity with `only` one row"),
    ],
)
def test_what_a_view_of_accounts_can_t_have_is_said(
    tmp_path: Path, feature: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        with_view(
            tmp_path,
            {"entity": "account", "event": "order_completed", "features": [{"name": "wrong", **feature}]},
        )


def with_view(folder: Path, view: dict[str, Any]) -> Specs:
    """The shipped specs with one view more."""
    document = yaml.safe_load(AGGREGATES.read_text())
    document["views"]["more"] = view
    (folder / "aggregates.yaml").write_text(yaml.safe_dump(document))
    return load_specs(EVENTS, folder / "aggregates.yaml", WORDS)
