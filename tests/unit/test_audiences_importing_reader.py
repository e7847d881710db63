"""Files of rows: what can't be read is said by its line, and the rest is read."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audiences.errors import FileUnreadable
from audiences.importing.reader import MAX_LINE_BYTES, Row, read_rows, size_of


def rows(path: Path, content: bytes) -> list[Row]:
    path.write_bytes(content)
    return list(read_rows(path))


def plain(found: list[Row]) -> list[tuple[int, dict[str, Any]]]:
    assert [row.error for row in found] == [""] * len(found)
    return [(row.line, dict(row.values)) for row in found]


def test_csv(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbfuser_id, note\r\nann,"two\nlines, ""quoted"""\r\n\r\nbob,\r\neve\r\n'
    found = rows(tmp_path / "a.csv", content)
    assert plain(found) == [
        (2, {"user_id": "ann", "note": 'two\nlines, "quoted"'}),
        (5, {"user_id": "bob"}),
        (6, {"user_id": "eve"}),
    ]
    assert found[-1].position == size_of(tmp_path / "a.csv") == len(content)


def test_a_wrong_line_of_csv_is_said_and_the_others_are_read(tmp_path: Path) -> None:
    content = b'user_id,note\nann,1\nbob,2,3\n\xff\xfe,4\neve,"a"b\njoe,5\n'
    found = rows(tmp_path / "a.csv", content)
    assert [(row.line, row.values.get("user_id")) for row in found] == [
        (2, "ann"),
        (3, None),
        (4, None),
        (5, None),
        (6, "joe"),
    ]
    assert [row.error.split(":")[0] for row in found[1:4]] == [
        "the line has 3 cells, the first line names 2",
        "the line is not UTF-8",
        "the line can't be read as CSV",
    ]


def test_ndjson(tmp_path: Path) -> None:
    content = (
        b'{"user_id": "ann", "n": 1, "gone": null}\n\n[1]\n{"a": \n{"user_id": "\xff"}\n{"user_id": "bob"}'
    )
    found = rows(tmp_path / "a.ndjson", content)
    assert [row.line for row in found] == [1, 3, 4, 5, 6]
    assert [dict(found[0].values), dict(found[-1].values)] == [{"user_id": "ann", "n": 1}, {"user_id": "bob"}]
    assert all(row.error and not row.values for row in found[1:4])


def test_a_line_of_megabytes_is_no_row(tmp_path: Path) -> None:
    content = b'{"a": "' + b"x" * (3 * MAX_LINE_BYTES) + b'"}\n{"a": 1}\n'
    long, short = rows(tmp_path / "a.jsonl", content)
    assert "more than" in long.error
    assert (short.line, short.values) == (2, {"a": 1})


def test_gzip(tmp_path: Path) -> None:
    assert plain(rows(tmp_path / "a.csv.gz", gzip.compress(b"a,b\n1,2\n"))) == [(2, {"a": "1", "b": "2"})]
    assert size_of(tmp_path / "a.csv.gz") is None
    with pytest.raises(FileUnreadable, match="can't be read"):
        rows(tmp_path / "b.csv.gz", gzip.compress(b"a,b\n1,2\n" * 1000)[:40])
    with pytest.raises(FileUnreadable, match="can't be read"):
        rows(tmp_path / "c.ndjson.gz", b"no gzip")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"user_id": ["ann", "bob"], "n": [1, None]}), path)
    assert plain(list(read_rows(path))) == [(1, {"user_id": "ann", "n": 1}), (2, {"user_id": "bob"})]
    assert size_of(path) == 2


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.xlsx", b"", "must end in .csv"),
        ("a.parquet.gz", b"", "must end in .csv"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"a,a\n1,2\n", "it names a twice"),
        ("a.csv", b"a,,b\n1,2\n", "a name is empty"),
        ("a.csv", b"\xff\n1\n", "not UTF-8"),
        ("a.parquet", b"PAR1", "is no Parquet file"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    with pytest.raises(FileUnreadable, match=what):
        rows(tmp_path / name, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="there is no file"):
        list(read_rows(tmp_path / "none.csv"))
    with pytest.raises(FileUnreadable, match="there is no file"):
        size_of(tmp_path / "none.csv")
