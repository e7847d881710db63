"""Export of facts to Parquet: one dataset folder a kind, one file a UTC day, for other tools to read.

    <folder>/<kind>/day=2026-03-02/facts.parquet

A file appears whole or not at all, and says in its metadata what it holds; so an export that was
interrupted, or is repeated, writes only the days that are missing or have changed since.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, func, select

from storage import ledger
from storage.engine import Database
from storage.erasure import ERASED_LABEL
from storage.errors import ConfigurationError, StorageError
from storage.ledger import Fact, Kind
from storage.order import settled
from storage.projection import DAY_MICROS, date_of, day_of
from storage.schema import fact_counts, facts
from storage.times import EPOCH

FILE_NAME = "facts.parquet"
# Facts of one row group: of decisions with 3 KB bodies some 30 MB.
_GROUP_FACTS = 10_000
_MOMENT = pa.timestamp("us", tz="UTC")
_SCHEMA = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("user_id", pa.string()),
        pa.field("occurred_at", _MOMENT, nullable=False),
        pa.field("recorded_at", _MOMENT, nullable=False),
        pa.field("body", pa.string(), nullable=False),
    ]
)
_MARK = b"nextplay.holds"


class ExportFailed(StorageError):
    """A file does not hold what the ledger does; it was not put in place."""

    status = 500
    code = "export-failed"
    retry = True


class Exported(NamedTuple):
    """One day of a kind: `facts` in its file, and whether it was `written` now or found as it should be.

    `kept` means that retention has taken facts of the day away: a file written before has what the ledger
    no longer has, and stays as it is, whatever came later.
    """

    kind: Kind
    day: date
    facts: int
    written: bool
    kept: bool


class _Day(NamedTuple):
    """What the ledger holds of a kind on a day (since 1970), up to and with the fact numbered `newest`."""

    day: int
    number: int
    newest: int
    labels: tuple[str, ...]
    purged: bool

    def mark(self, erasures: int) -> bytes:
        """Return what a file's metadata says when it holds just this."""
        return f"{self.number} facts up to {self.newest} after {erasures} erasures".encode()


def export(
    database: Database, folder: Path, kinds: Collection[Kind], since: date | None, until: date | None
) -> list[Exported]:
    """Write the facts of these kinds that happened on the UTC days since <= day < until.

    Columns: kind, id, label, user_id, occurred_at and recorded_at (timestamps in UTC), body (JSON text);
    `day` is in the folder's name. Facts recorded after the call began are left for the next one. Each
    file's rows are counted against the ledger before it is put in place. Days of which an erasure has
    changed facts are written again. One export at a time may write to a folder.

    Raises:
        ConfigurationError: the days are the wrong way round, or the folder can't be written.
        ExportFailed: a file has not as many rows as the ledger has facts; earlier files stay.
    """
    if since is not None and until is not None and since >= until:
        raise ConfigurationError(f"export: nothing lies between {since} and {until}; --until is exclusive")
    result = []
    for kind in dict.fromkeys(kinds):
        with database.read() as connection:
            days = _days(connection, kind, since, until)
            erasures = _erasures(connection)
        for day in days:
            try:
                result.append(_export_day(database, folder, kind, day, erasures))
            except OSError as error:
                raise ConfigurationError(
                    f"export: can't write to {folder}: {error.strerror}; nothing of that day was left behind"
                ) from error
    return result


def _days(connection: Connection, kind: Kind, since: date | None, until: date | None) -> list[_Day]:
    purged = select(fact_counts.c.day).where(fact_counts.c.kind == kind, fact_counts.c.purged > 0)
    gone = set(connection.execute(purged.distinct()).scalars())
    columns = day_of(), facts.c.label
    query = select(*columns, func.count(), func.max(facts.c.seq))
    query = query.where(facts.c.kind == kind, settled(connection))
    if since is not None:
        query = query.where(facts.c.occurred_at >= _micros(since))
    if until is not None:
        query = query.where(facts.c.occurred_at < _micros(until))
    rows = connection.execute(query.group_by("day", facts.c.label).order_by("day", facts.c.label)).all()
    result = []
    for day, group in groupby(rows, key=itemgetter(0)):
        _, labels, numbers, newest = zip(*group, strict=True)
        result.append(_Day(day, sum(numbers), max(newest), labels, day in gone))
    return result


def _export_day(database: Database, folder: Path, kind: Kind, day: _Day, erasures: int) -> Exported:
    path = folder / kind.value / f"day={date_of(day.day).isoformat()}" / FILE_NAME
    if path.exists():
        metadata = pq.read_metadata(path)
        same = (metadata.metadata or {}).get(_MARK) == day.mark(erasures)
        if same or day.purged:
            return Exported(kind, date_of(day.day), metadata.num_rows, False, not same)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with database.read() as connection:
            written = _write(unfinished, _facts(connection, kind, day), day.mark(erasures))
        if written != day.number:
            raise ExportFailed(
                f"{path} has {written} rows where the ledger counted {day.number} {kind} facts of that day: "
                "facts were taken away meanwhile, or the file is damaged; export again"
            )
        unfinished.replace(path)
        _sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)
    return Exported(kind, date_of(day.day), written, True, False)


def _facts(connection: Connection, kind: Kind, day: _Day) -> Iterator[Fact]:
    """Yield a day's facts by label and time, which is the order of an index and packs well."""
    start = day.day * DAY_MICROS
    for label in day.labels:
        query = ledger.columns().where(
            facts.c.kind == kind,
            facts.c.label == label,
            facts.c.occurred_at >= start,
            facts.c.occurred_at < start + DAY_MICROS,
            facts.c.seq <= day.newest,
        )
        query = query.order_by(facts.c.occurred_at, facts.c.seq)
        for row in connection.execute(query.execution_options(yield_per=ledger.PAGE_ROWS)):
            yield ledger.fact_of(row)


def _write(path: Path, rows: Iterator[Fact], mark: bytes) -> int:
    """Write a file and return how many rows it has when it is read again."""
    schema = _SCHEMA.with_metadata({_MARK: mark})
    with path.open("wb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            while group := list(islice(rows, _GROUP_FACTS)):
                writer.write_table(_table(group, schema))
        file.flush()
        os.fsync(file.fileno())
    return int(pq.read_metadata(path).num_rows)


def _table(group: Sequence[Fact], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([getattr(fact, field.name) for fact in group], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _erasures(connection: Connection) -> int:
    return ledger.counts(connection).get(Kind.CHANGE, {}).get(ERASED_LABEL, 0)


def _micros(day: date) -> int:
    return (datetime.combine(day, time(), UTC) - EPOCH) // timedelta(microseconds=1)


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
