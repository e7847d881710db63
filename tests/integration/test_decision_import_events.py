"""`nextplay import events` into a database at hand: every kind of file, wrong rows, and the same again."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from audiences.errors import FileUnreadable
from audiences.events import EventBody
from decision import import_commands
from decision.errors import RowsRefused
from storage import ledger
from storage.engine import Database
from storage.errors import ConfigurationError
from storage.ledger import Fact, Kind

LINE = {"userId": "ann", "event": "order_completed", "timestamp": "2025-03-01T09:00:00Z"}


def run(data: Path, *arguments: object) -> Result:
    given = ["events", *map(str, arguments), "--data", str(data)]
    return CliRunner().invoke(import_commands.app, given)


def facts(data: Path, kind: Kind = Kind.PAST_EVENT) -> list[Fact]:
    database = Database(f"sqlite:///{data / 'nextplay.db'}", create=False)
    with database.read() as connection:
        found = ledger.read_after(connection, 0, kind=kind)
    database.close()
    return found


def properties(data: Path) -> list[dict[str, Any]]:
    return [fact.decode(EventBody).properties for fact in facts(data)]


def test_messages_of_the_spec(data: Path, tmp_path: Path) -> None:
    lines = [
        {**LINE, "properties": {"value": number}, "sentAt": "2025-03-01T10:00:00Z"} for number in range(450)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (tmp_path / "a.ndjson").write_bytes(text)
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(text))
    result = run(data, tmp_path / "a.ndjson", "--historical")
    assert "450 recorded, 0 were there already, 0 refused" in result.output, result
    assert "features know them after the next run of the job `features`" in result.output
    assert "0 recorded, 450 were there already" in run(data, tmp_path / "a.ndjson.gz", "--historical").output
    assert [made["value"] for made in properties(data)] == list(range(450))
    assert {fact.occurred_at for fact in facts(data)} == {datetime(2025, 3, 1, 9, tzinfo=UTC)}
    assert {fact.user_id for fact in facts(data)} == {"ann"}
    assert facts(data, Kind.EVENT) == []


def test_what_is_not_past_is_recorded_as_if_it_came_now(data: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({**LINE, "messageId": "m1"}))
    said = run(data, tmp_path / "a.jsonl").output
    assert "1 recorded" in said
    assert "after the next run" not in said
    assert [fact.id for fact in facts(data, Kind.EVENT)] == ["m1"]
    assert "1 were there already" in run(data, tmp_path / "a.jsonl", "--historical").output


def test_an_import_that_was_broken_off_goes_on(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    head = "user_id,event,timestamp\n"
    rows = [f"user-{number},seen,2025-03-01T09:00:00Z\n" for number in range(30)]
    file.write_text(head + "".join(rows[:10]))
    assert "10 recorded" in run(data, file, "--historical").output
    file.write_text(head + "".join(rows))
    assert "20 recorded, 10 were there already" in run(data, file, "--historical").output


def test_columns(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("who,what,when,amount,note\nann,seen,2025-03-01 09:00:00,12.5,hello\n")
    maps = [part for one in ("who=user_id", "what=event", "when=timestamp") for part in ("--map", one)]
    maps += ["--map", "amount=properties.value:number", "--zone", "UTC", "--historical"]
    assert "1 recorded" in run(data, file, *maps).output
    assert properties(data) == [{"value": 12.5, "note": "hello"}]


def test_parquet(data: Path, tmp_path: Path) -> None:
    when = [datetime(2025, 3, 1, 9), datetime(2025, 3, 2, 9)]  # noqa: DTZ001 - as files often have them
    table = {"user_id": [1, 2], "event": ["seen", None], "timestamp": when, "lines": [[{"n": 1}], []]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    result = run(data, tmp_path / "a.parquet", "--historical", "--zone", "UTC")
    assert "1 recorded, 0 were there already, 1 refused" in result.output, result
    assert [(fact.user_id, fact.occurred_at) for fact in facts(data)] == [("1", when[0].replace(tzinfo=UTC))]
    assert properties(data) == [{"lines": [{"n": 1}]}]


def test_wrong_rows_are_written_with_their_lines_and_the_others_kept(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    good = json.dumps({**LINE, "messageId": "good"}).encode()
    wrong = [
        ({**LINE, "timestamp": None}, "`timestamp` is missing"),
        ({**LINE, "timestamp": "2025-03-01T09:00:00"}, "has no time zone"),
        ({**LINE, "timestamp": "1970-01-01T00:00:00Z"}, "lies before 2000-01-01"),
        ({**LINE, "timestamp": "2027-03-01T09:00:00Z"}, "lies in the future"),
        ({**LINE, "userId": None}, "userId"),
        ({**LINE, "event": ""}, "`event` is missing"),
        ({**LINE, "properties": "x"}, "`properties` 'x' is no json"),
        ({**LINE, "properties": {"note": "x" * 40_000}}, "at most 32768 are taken"),
        ({**LINE, "messageId": "good", "event": "other"}, "was used before"),
    ]
    broken = [(b"\xff", "not UTF-8"), (b"[1]", "no JSON object"), (b'{"a": ', "no JSON object")]
    texts = [json.dumps(line).encode() for line, _ in wrong] + [line for line, _ in broken]
    file.write_bytes(b"\n".join([good, *texts, good]))
    result = run(data, file, "--historical")
    assert "1 recorded, 1 were there already, 12 refused" in result.output, result
    assert isinstance(result.exception, RowsRefused)
    rejects = [json.loads(line) for line in (tmp_path / "a.ndjson.rejects.ndjson").read_text().splitlines()]
    told = {one["line"]: one["error"] for one in rejects}
    for number, (_, what) in enumerate([*wrong, *broken], 2):
        assert what in told[number]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.csv", "user_id,event\nann,seen\n", "a.csv has no column timestamp; it has user_id, event"),
        ("a.csv", "", "is empty"),
        ("a.xlsx", "", "must end in .csv"),
        ("a.parquet", "PAR1", "is no Parquet file"),
    ],
)
def test_a_file_that_can_not_be_taken_is_not_begun(
    data: Path, tmp_path: Path, name: str, content: str, what: str
) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(LINE))
    (tmp_path / name).write_text(content)
    result = run(data, good, tmp_path / name)
    assert isinstance(result.exception, FileUnreadable)
    assert what in str(result.exception)
    assert facts(data, Kind.EVENT) == []


def test_several_files_can_not_share_a_file_of_rejects(data: Path, tmp_path: Path) -> None:
    result = run(data, tmp_path / "a.csv", tmp_path / "b.csv", "--rejects", tmp_path / "r")
    assert isinstance(result.exception, ConfigurationError)
