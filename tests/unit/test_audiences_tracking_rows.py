"""Rows of files as messages: columns find their fields, and a row without an id gets one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from audiences.errors import FileUnreadable, RowRefused
from audiences.importing.reader import Row
from audiences.tracking.rows import Columns

PLAIN = {"user_id": "ann", "event": "seen", "timestamp": "2026-03-01T00:00:00Z"}


def values_of(columns: Columns, values: dict[str, Any], line: int = 2) -> dict[str, Any]:
    row = columns.message(Row(line, values))
    assert row.error == ""
    return dict(row.values)


def test_columns_that_are_no_fields_are_properties() -> None:
    made = values_of(Columns(), {**PLAIN, "message_id": "m1", "value": "12.5", "properties": '{"a": [1]}'})
    assert made == {
        "userId": "ann",
        "event": "seen",
        "timestamp": "2026-03-01T00:00:00+00:00",
        "messageId": "m1",
        "properties": {"a": [1], "value": "12.5"},
    }


def test_messages_are_left_as_they_are() -> None:
    message = {"userId": "ann", "messageId": "m1", "properties": {"a": 1}, "channel": "server"}
    assert values_of(Columns(flat=False), message) == message


def test_columns_are_mapped_and_read_as_told() -> None:
    maps = ["who=user_id", "what=event", "at=timestamp", "amount=properties.value:number"]
    maps += ["gift=properties.gift:boolean", "lines=properties.lines:json", "code=properties.code", "junk="]
    row = {"who": 7, "what": "seen", "at": "2026-03-01 09:00", "message_id": "m1", "amount": "12.5"}
    row |= {"gift": "Yes", "lines": "[1, null]", "code": "0123", "junk": "x"}
    assert values_of(Columns(maps, "Europe/Berlin"), row) == {
        "userId": "7",
        "event": "seen",
        "timestamp": "2026-03-01T09:00:00+01:00",
        "messageId": "m1",
        "properties": {"value": 12.5, "gift": True, "lines": [1, None], "code": "0123"},
    }


def test_values_that_are_typed_already_are_kept() -> None:
    moment = datetime(2026, 3, 1, 9, tzinfo=UTC)
    row = {**PLAIN, "timestamp": moment, "price": Decimal("1.25"), "lines": [{"n": 1}], "message_id": 5}
    made = values_of(Columns(), row)
    assert made["timestamp"] == "2026-03-01T09:00:00+00:00"
    assert made["properties"] == {"price": 1.25, "lines": [{"n": 1}]}
    assert made["messageId"] == "5"


def test_an_id_is_made_of_content_and_line() -> None:
    first = values_of(Columns(), {**PLAIN, "n": "1"})["messageId"]
    assert first.startswith("import-")
    assert values_of(Columns(), {"n": "1", **PLAIN})["messageId"] == first
    others = [
        values_of(Columns(), {**PLAIN, "n": "2"})["messageId"],
        values_of(Columns(), {**PLAIN, "n": "1"}, line=3)["messageId"],
    ]
    assert len({first, *others}) == 3


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"value": "12,5"}, "`value` '12,5' is no number"),
        ({"value": "true"}, "`value` 'true' is no number"),
        ({"gift": "perhaps"}, "`gift` 'perhaps' is neither true nor false"),
        ({"properties": "[1]"}, "`properties` must be a JSON object"),
        ({"properties": "{"}, "`properties` '{' is no json"),
        ({"context": 5}, "`context` must be a JSON object"),
    ],
)
def test_a_cell_that_can_not_be_read_is_told(values: dict[str, Any], what: str) -> None:
    columns = Columns(["value=properties.value:number", "gift=properties.gift:boolean"])
    assert what in columns.message(Row(2, {**PLAIN, **values})).error


@pytest.mark.parametrize(
    ("maps", "zone", "what"),
    [
        (["who"], None, "--map 'who' can't be read"),
        (["who=nobody"], None, "write COLUMN=FIELD, where FIELD is one of properties, traits"),
        (["who=properties."], None, "can't be read"),
        (["who=user_id:number"], None, "properties may be read as text, number"),
        (["who=properties.a:money"], None, "properties may be read as text, number"),
        ([], "Mars/North", "there is no time zone 'Mars/North'"),
        ([], "../etc", "there is no time zone"),
    ],
)
def test_a_wrong_mapping_is_told(maps: list[str], zone: str | None, what: str) -> None:
    with pytest.raises(RowRefused, match=what):
        Columns(maps, zone)


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        (["user_id", "event"], "a.csv has no column timestamp; it has user_id, event"),
        (["timestamp", "event"], "no column user_id or anonymous_id; .* --map COLUMN=user_id"),
        (["timestamp", "user_id"], "no column event"),
    ],
)
def test_a_file_without_a_needed_column_is_not_begun(columns: list[str], what: str) -> None:
    with pytest.raises(FileUnreadable, match=what):
        Columns().check("a.csv", columns)


def test_a_mapping_of_a_column_that_is_not_there_is_told() -> None:
    with pytest.raises(FileUnreadable, match="has no column 'who', which --map names"):
        Columns(["who=user_id"]).check("a.csv", ["event", "timestamp", "user_id"])
    Columns(["who=user_id"]).check("a.csv", ["event", "timestamp", "who"])
