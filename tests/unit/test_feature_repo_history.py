"""The Parquet history: parts, repetition, and values that do not fit."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from feature_repo.errors import HistoryError
from feature_repo.history import Appended, History, HistoryEvent
from feature_repo.schema import EventSchemas

SCHEMAS = EventSchemas.model_validate(
    {
        "events": {
            "paid": {
                "amount": "float",
                "n": "int",
                "note": "text",
                "ok": "bool",
                "at": "time",
                "labels": ["text"],
                "items": [{"kind": "text", "price": "float"}],
            },
            "seen": {"page": "text"},
        }
    }
)
START = datetime(2026, 1, 1, tzinfo=UTC)


def event(sequence: int, name: str = "paid", **properties: Any) -> HistoryEvent:
    return HistoryEvent(sequence, f"u{sequence % 3}", name, START + timedelta(hours=sequence), properties)


def rows(history: History, name: str = "paid") -> list[dict[str, Any]]:
    return [row for part in history.parts(name) for row in pq.read_table(part).to_pylist()]


def test_events_go_to_the_dataset_of_their_name(tmp_path: Path) -> None:
    history = History(tmp_path, SCHEMAS)
    done = history.append([event(1, amount=2.5), event(2, "seen", page="/"), event(3, "unknown"), event(5)])
    assert done == Appended(written=3, repeated=0, nulled=0)
    assert [part.name for part in history.parts("paid")] == [
        "0000000000000000001-0000000000000000005.parquet"
    ]
    assert [(row["sequence"], row["user_id"], row["amount"]) for row in rows(history)] == [
        (1, "u1", 2.5),
        (5, "u2", None),
    ]
    assert rows(history, "seen")[0]["page"] == "/"
    assert (history.position("paid"), history.position("seen")) == (5, 2)


def test_the_same_part_twice_is_the_same_part(tmp_path: Path) -> None:
    history = History(tmp_path, SCHEMAS)
    batch = [event(i) for i in range(1, 6)]
    history.append(batch)
    assert history.append(batch) == Appended(written=0, repeated=5, nulled=0)
    assert len(rows(history)) == 5


def test_a_batch_with_other_bounds_repeats_nothing(tmp_path: Path) -> None:
    history = History(tmp_path, SCHEMAS)
    history.append([event(i) for i in range(1, 6)])
    assert history.append([event(i) for i in range(3, 9)]) == Appended(written=3, repeated=3, nulled=0)
    assert [row["sequence"] for row in rows(history)] == list(range(1, 9))


def test_an_unfinished_part_is_not_seen(tmp_path: Path) -> None:
    history = History(tmp_path, SCHEMAS)
    (tmp_path / "paid").mkdir()
    (tmp_path / "paid" / ".0000000000000000001-0000000000000000005.parquet.77").write_bytes(b"half")
    assert history.parts("paid") == []
    assert history.position("paid") == 0


def test_wrong_order_and_naive_times_are_refused(tmp_path: Path) -> None:
    history = History(tmp_path, SCHEMAS)
    with pytest.raises(HistoryError, match="event 1 of 'paid' comes after 2"):
        history.append([event(2), event(1)])
    naive = HistoryEvent(1, "u", "paid", datetime(2026, 1, 1), {})  # noqa: DTZ001
    with pytest.raises(HistoryError, match="event 1 has a naive occurred_at"):
        history.append([naive])
    assert rows(history) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("amount", "12"),
        ("amount", True),
        ("amount", math.nan),
        ("amount", math.inf),
        ("n", 1.5),
        ("n", 2**70),
        ("note", 7),
        ("note", "\ud800"),
        ("ok", "yes"),
        ("at", "tomorrow"),
        ("labels", "a"),
        ("items", {"kind": "a"}),
    ],
)
def test_a_value_that_does_not_fit_becomes_null_and_is_counted(
    tmp_path: Path, column: str, value: Any
) -> None:
    history = History(tmp_path, SCHEMAS)
    assert history.append([event(1, **{column: value}), event(2, amount=1.0)]) == Appended(2, 0, nulled=1)
    assert rows(history)[0][column] is None
    assert rows(history)[1]["amount"] == 1.0


def test_a_list_keeps_the_elements_that_fit(tmp_path: Path) -> None:
    history = History(tmp_path, SCHEMAS)
    items = [{"kind": "a", "price": 1}, {"kind": 3, "price": math.nan}, "b", {"price": 2.0, "more": 1}]
    assert history.append([event(1, items=items, labels=["x", 1])]).nulled == 4
    assert rows(history)[0]["items"] == [
        {"kind": "a", "price": 1.0},
        {"kind": None, "price": None},
        None,
        {"kind": None, "price": 2.0},
    ]
    assert rows(history)[0]["labels"] == ["x", None]


def test_nan_inside_a_list_becomes_null(tmp_path: Path) -> None:
    history = History(tmp_path, SCHEMAS)
    prices = [{"kind": "a", "price": math.nan}, {"kind": "b", "price": 1.0}]
    assert history.append([event(1, items=prices), event(2), event(3, items=[])]).nulled == 1
    assert [row["items"] for row in rows(history)] == [
        [{"kind": "a", "price": None}, {"kind": "b", "price": 1.0}],
        None,
        [],
    ]


def test_times_are_read_from_iso_text(tmp_path: Path) -> None:
    history = History(tmp_path, SCHEMAS)
    history.append([event(1, at="2026-05-01T12:00:00+02:00")])
    assert rows(history)[0]["at"] == datetime(2026, 5, 1, 10, tzinfo=UTC)
