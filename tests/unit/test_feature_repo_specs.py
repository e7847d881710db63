"""The YAML documents: what they become, and what is said when they are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from feature_repo.errors import SpecError, UnknownService
from feature_repo.specs import AGGREGATES, load_specs

EVENTS: dict[str, Any] = {
    "events": {
        "paid": {
            "amount": "float",
            "note": "text",
            "labels": ["text"],
            "items": [{"kind": "text", "n": "int"}],
        }
    }
}
WORDS: Mapping[str, list[str]] = {"kinds": ["a", "b"]}


def aggregates(**feature: Any) -> dict[str, Any]:
    view = {"entity": "user", "event": "paid", "features": [{"name": "x", **feature}]}
    return {"entities": {"user": {"key": "user_id"}}, "views": {"v": view}, "services": {"all": ["v"]}}


def load(tmp_path: Path, document: dict[str, Any], events: dict[str, Any] = EVENTS) -> Any:
    (tmp_path / "events.yaml").write_text(yaml.safe_dump(events, sort_keys=False))
    (tmp_path / "aggregates.yaml").write_text(yaml.safe_dump(document))
    return load_specs(tmp_path / "events.yaml", tmp_path / "aggregates.yaml", WORDS)


def test_the_shipped_documents_agree() -> None:
    specs = load_specs()
    assert len(specs.vocabularies["arm_category"]) == 40
    features = specs.features_of("decide")
    assert features["orders_12w"].type == "int"
    assert features["category_rate_hl8"].type == "floats"
    assert features["last_order_at"].type == "time"
    assert all(feature.type != "floats" for feature in specs.features_of("audience_rules").values())
    assert set(specs.services["training"]) >= set(specs.services["decide"])


def test_windows_become_features_with_a_suffix(tmp_path: Path) -> None:
    specs = load(
        tmp_path, aggregates(function="sum", column="amount", windows=[1, "52w", "90d", "12h", "10m"])
    )
    assert [(f.name, str(f.window), f.type) for f in specs.views["v"].features] == [
        ("x_1w", "1w", "float"),
        ("x_52w", "52w", "float"),
        ("x_90d", "90d", "float"),
        ("x_12h", "12h", "float"),
        ("x_10m", "10m", "float"),
    ]


def test_a_vocabulary_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text("vocabularies: {arm_category: long.yaml}")
    (tmp_path / "long.yaml").write_text("vocabularies: {arm_category: [a, b, c]}")
    specs = load_specs(aggregates=AGGREGATES, vocabularies=tmp_path / "words.yaml")
    assert specs.vocabularies["arm_category"] == ("a", "b", "c")


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"function": "median"}, "views.v.features.0.function"),
        ({"function": "count", "colour": "red"}, "views.v.features.0.colour: Extra inputs are not permitted"),
        (
            {"function": "count", "event": "refunded"},
            "v.x: unknown event 'refunded'; events with a history are: paid",
        ),
        (
            {"function": "sum", "column": "price"},
            "v.x: unknown column 'price'; there are: amount, note, labels, items",
        ),
        ({"function": "sum", "column": "note"}, "v.x: 'sum' can't take column 'note' (text)"),
        ({"function": "sum"}, "function 'sum' needs `column`"),
        ({"function": "count", "column": "amount"}, "function 'count' takes no `column`"),
        ({"function": "distinct_weeks"}, "function 'distinct_weeks' needs `windows`"),
        ({"function": "count", "windows": [0]}, "0 is no window"),
        ({"function": "count", "windows": ["90 days"]}, "'90 days' is no window: write a number of weeks"),
        ({"function": "count", "windows": ["0d"]}, "is no window"),
        ({"function": "count", "windows": ["883d"]}, "longer than 126 weeks"),
        ({"function": "count", "windows": [127]}, "longer than 126 weeks"),
        ({"function": "distinct_weeks", "windows": ["10d"]}, "its windows are whole weeks"),
        ({"function": "count", "windows": [4, "4w"]}, "a window is named twice"),
        ({"function": "count_events"}, "'count_events' goes with `each`"),
        ({"function": "count", "each": "amount"}, "`each: amount` is not a list column of event 'paid'"),
        (
            {"function": "sum", "column": "amount", "each": "items"},
            "unknown column 'amount'; there are: kind, n",
        ),
        ({"function": "last_size", "column": "amount"}, "'last_size' can't take column 'amount'"),
        (
            {"function": "count", "where": [{"column": "items", "is": "=", "value": 1}]},
            "can't compare the list column",
        ),
        (
            {"function": "count", "where": [{"column": "amount", "is": ">", "value": "1"}]},
            "`where` compares column 'amount' (float) with '1', which is of another type",
        ),
        (
            {"function": "count", "where": [{"column": "amount", "is": "in", "value": 1}]},
            "a list of values goes with",
        ),
        (
            {"function": "count", "each": "items", "by": {"column": "kind", "vocabulary": "shops"}},
            "unknown vocabulary 'shops'; given are: kinds",
        ),
        (
            {"function": "count", "each": "items", "by": {"column": "n", "vocabulary": "kinds"}},
            "`by` needs a text column, which 'n' is not",
        ),
        (
            {
                "function": "mean",
                "column": "n",
                "each": "items",
                "by": {"column": "kind", "vocabulary": "kinds"},
            },
            "with `by` use one of",
        ),
        (
            {
                "function": "weeks_since_last",
                "each": "items",
                "by": {"column": "kind", "vocabulary": "kinds"},
            },
            "needs `cap`, for an array has no nulls",
        ),
        (
            {"function": "share_of_users", "period_weeks": 2, "windows": [4]},
            "of an entity with `only` one row",
        ),
        ({"function": "share_of_users", "period_weeks": 2, "windows": [3]}, "a multiple of period_weeks"),
        ({"function": "sum", "column": "amount", "event": "any"}, "over any event only"),
        (
            {"ratio": {"of": {"function": "mean", "column": "amount"}, "to": [{"function": "count"}]}},
            "a ratio is made of",
        ),
        ({}, "a feature has either `function` or `ratio`"),
    ],
)
def test_a_wrong_feature_is_said_with_its_place(
    tmp_path: Path, feature: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        load(tmp_path, aggregates(**feature))
    assert message in str(caught.value)
    assert "aggregates.yaml" in str(caught.value)


def test_names_are_unique_over_all_views(tmp_path: Path) -> None:
    document = aggregates(function="count")
    document["views"]["w"] = document["views"]["v"]
    with pytest.raises(SpecError, match="feature 'x' exists in view 'v' already"):
        load(tmp_path, document)


def test_unknown_entities_and_views_are_refused(tmp_path: Path) -> None:
    document = aggregates(function="count")
    document["services"]["all"] = ["v", "nothing"]
    with pytest.raises(SpecError, match=r"services\.all: unknown view 'nothing'"):
        load(tmp_path, document)
    document["views"]["v"]["entity"] = "shop"
    with pytest.raises(SpecError, match="unknown entity 'shop'; declared are: user"):
        load(tmp_path, document)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ({"events": {"paid": {"user_id": "text"}}}, "every history has such a column already"),
        ({"events": {"paid": {"amount": "money"}}}, "events.yaml: events.paid.amount"),
        ({"events": {"paid": {"Amount": "float"}}}, "events.yaml: events.paid.Amount"),
        ({"events": {"paid": {"labels": ["text", "int"]}}}, "events.yaml: events.paid.labels"),
    ],
)
def test_a_wrong_event_schema_is_said(tmp_path: Path, events: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(tmp_path, aggregates(function="count"), events)
    assert message in str(caught.value)


def test_unreadable_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.yaml: can't be read"):
        load_specs(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("events: [")
    with pytest.raises(SpecError, match=r"broken\.yaml: not YAML"):
        load_specs(tmp_path / "broken.yaml")


@pytest.mark.parametrize("words", [[], ["a", "a"]])
def test_a_vocabulary_is_a_list_of_different_words(words: list[str]) -> None:
    with pytest.raises(SpecError, match="a list of different words"):
        load_specs(vocabularies={"arm_category": words})


def test_an_undeclared_service_is_said() -> None:
    with pytest.raises(UnknownService, match="no feature service 'x'; declared are: audience_rules"):
        load_specs().views_of("x")
