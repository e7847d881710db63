"""Files of rows, read one at a time: CSV, NDJSON and Parquet, the first two also gzipped.

A row that can't be read is given with the reason, and the rows after it are read all the same.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from audiences.errors import FileUnreadable

# A longer line is not a row but a file of another kind.
MAX_LINE_BYTES = 1024 * 1024
_PARQUET_ROWS = 2_000
SUFFIXES = (".csv", ".ndjson", ".jsonl", ".parquet")


class Row(msgspec.Struct, frozen=True):
    """A row of a file; `line` counts from 1 (of Parquet: the row). `error` says why there are no values.

    Empty cells of CSV and nulls are left out of `values`.
    """

    line: int
    values: Mapping[str, Any] = {}
    error: str = ""
    # How far into the file this is, in bytes (of Parquet: rows).
    position: int = 0


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file, whose name says what it is: .csv, .ndjson, .jsonl or .parquet (or .csv.gz …).

    Raises:
        FileUnreadable: it is not there, of another kind, or its head can't be read.
    """
    suffix = _suffix(path)
    reader: Callable[[Path], Iterator[Row]] = {".csv": _csv, ".parquet": _parquet}.get(suffix, _ndjson)
    try:
        yield from reader(path)
    except (OSError, EOFError, zlib.error) as error:
        raise FileUnreadable(f"{path} can't be read: {error}") from error


def size_of(path: Path) -> int | None:
    """Return what a row's `position` grows up to; None where that is not known before the end.

    Raises:
        FileUnreadable: it is not there or of another kind.
    """
    suffix = _suffix(path)
    if suffix == ".parquet":
        return int(_opened_parquet(path).metadata.num_rows)
    return None if path.suffix == ".gz" else path.stat().st_size


def columns_of(path: Path) -> list[str] | None:
    """Return the names of a file's columns; None where each row has names of its own.

    Raises:
        FileUnreadable: it is not there, of another kind, or its head can't be read.
    """
    suffix = _suffix(path)
    if suffix == ".parquet":
        return list(_opened_parquet(path).schema_arrow.names)
    if suffix != ".csv":
        return None
    record = _Record(path)
    try:
        return _header(path, csv.reader(record, strict=True), record)
    except (OSError, EOFError, zlib.error) as error:
        raise FileUnreadable(f"{path} can't be read: {error}") from error


def _suffix(path: Path) -> str:
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix.lower() not in SUFFIXES or (suffix == ".parquet" and path.suffix == ".gz"):
        raise FileUnreadable(
            f"{path.name}: the name must end in {', '.join(SUFFIXES)}, or .gz after one of the first three"
        )
    if not path.is_file():
        raise FileUnreadable(f"there is no file {path}")
    return suffix.lower()


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _lines(path: Path) -> Iterator[tuple[int, int, str | None, str]]:
    """Yield number, end, text and error of each line."""
    with _open(path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES)
                yield number, file.tell(), None, f"the line has more than {MAX_LINE_BYTES} bytes"
                continue
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            try:
                yield number, file.tell(), line.decode(), ""
            except UnicodeDecodeError as error:
                yield (
                    number,
                    file.tell(),
                    None,
                    f"the line is not UTF-8: {error.reason} at byte {error.start}",
                )


def _ndjson(path: Path) -> Iterator[Row]:
    for number, end, text, wrong in _lines(path):
        if text is None:
            yield Row(number, error=wrong, position=end)
            continue
        if not text.strip():
            continue
        try:
            values = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield Row(number, error=f"the line is no JSON object: {error}", position=end)
            continue
        present = {name: value for name, value in values.items() if value is not None}
        yield Row(number, present, position=end)


class _Record:
    """Hands a CSV reader one record's lines and stops where a line can't be read."""

    def __init__(self, path: Path) -> None:
        self._source = _lines(path)
        self.number = 0
        self.end = 0
        self.wrong = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, self.end, text, wrong = next(self._source)
        if text is not None:
            return text
        self.wrong = self.wrong or wrong
        # An empty record; whoever reads it looks at `wrong`.
        return "\n"


def _csv(path: Path) -> Iterator[Row]:
    record = _Record(path)
    reader = csv.reader(record, strict=True)
    names = _header(path, reader, record)
    while True:
        first = record.number + 1
        record.wrong = ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(first, error=f"the line can't be read as CSV: {error}", position=record.end)
            # What was begun is given up: the next line begins a record.
            reader = csv.reader(record, strict=True)
            continue
        if record.wrong:
            yield Row(first, error=record.wrong, position=record.end)
        elif len(cells) > len(names):
            wrong = f"the line has {len(cells)} cells, the first line names {len(names)}"
            yield Row(first, error=wrong, position=record.end)
        elif cells:
            values = {name: cell for name, cell in zip(names, cells, strict=False) if cell != ""}
            yield Row(first, values, position=record.end)


def _header(path: Path, reader: Iterator[list[str]], record: _Record) -> list[str]:
    try:
        names = [name.strip() for name in next(reader)]
    except StopIteration:
        raise FileUnreadable(f"{path} is empty; its first line must name the columns") from None
    except csv.Error as error:
        raise FileUnreadable(f"{path}: the first line can't be read as CSV: {error}") from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if record.wrong or twice or "" in names:
        what = record.wrong or (f"it names {', '.join(twice)} twice" if twice else "a name is empty")
        raise FileUnreadable(f"{path}: the first line must name the columns: {what}")
    return names


def _parquet(path: Path) -> Iterator[Row]:
    number = 0
    for batch in _opened_parquet(path).iter_batches(batch_size=_PARQUET_ROWS):
        for values in batch.to_pylist():
            number += 1
            present = {name: value for name, value in values.items() if value is not None}
            yield Row(number, present, position=number)


def _opened_parquet(path: Path) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - a second, for files of this kind only
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise FileUnreadable(f"{path} is no Parquet file: {error}") from error
