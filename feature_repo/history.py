"""The history: events in Parquet, one dataset folder an event name, from which features are computed.

A part file is named by the first and last ledger sequence number in it and appears by an atomic rename,
so a reader sees a part whole or not at all, and a part written twice is the same part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.columns import column_array
from feature_repo.disk import using, write_whole
from feature_repo.errors import HistoryError
from feature_repo.schema import KEY_COLUMNS, EventSchemas

DIGITS = 19  # of a 64-bit sequence number, so that names sort as numbers


class HistoryEvent(NamedTuple):
    """An event as the ledger has it; `sequence` is its number there, `occurred_at` aware UTC."""

    sequence: int
    user_id: str
    name: str
    occurred_at: datetime
    properties: Mapping[str, Any]


class Appended(NamedTuple):
    """What one append did: rows written, rows that were there already, values of a wrong type made null."""

    written: int
    repeated: int
    nulled: int


class History:
    """Appends to and lists the Parquet datasets below `root`. One writer at a time."""

    def __init__(self, root: Path, schemas: EventSchemas) -> None:
        self.root = root
        self.schemas = schemas

    def parts(self, event: str) -> list[Path]:
        """Part files of an event's dataset, oldest first."""
        return sorted((self.root / event).glob("*.parquet"))

    def position(self, event: str) -> int:
        """Highest sequence number in the event's dataset; 0 if it is empty."""
        return max((_bounds(part)[1] for part in self.parts(event)), default=0)

    def append(self, events: Iterable[HistoryEvent]) -> Appended:
        """Write events that have a history, one part for each event name; others are passed over.

        Events must come in ascending order of sequence, within a call and from call to call: what is not
        above the dataset's highest number is taken to be there already and not written again, so a batch
        may be repeated, also with other bounds. A value that does not fit its column, NaN or an infinity
        becomes null. Raises HistoryError for a naive time or a wrong order, StoreUnavailable.
        """
        batches: dict[str, list[HistoryEvent]] = {name: [] for name in self.schemas.events}
        for event in events:
            if event.name in batches:
                batches[event.name].append(event)
        written = repeated = nulled = 0
        for name, batch in batches.items():
            _check(batch)
            position = self.position(name) if batch else 0
            fresh = [event for event in batch if event.sequence > position]
            repeated += len(batch) - len(fresh)
            if fresh:
                with using(self.root):
                    nulled += self._write(name, fresh)
                written += len(fresh)
        return Appended(written, repeated, nulled)

    def _write(self, name: str, batch: Sequence[HistoryEvent]) -> int:
        columns = self.schemas.events[name]
        arrays: list[pa.Array] = [
            pa.array([event.sequence for event in batch], KEY_COLUMNS["sequence"]),
            pa.array([event.user_id for event in batch], KEY_COLUMNS["user_id"]),
            pa.array([event.occurred_at for event in batch], KEY_COLUMNS["occurred_at"]),
        ]
        nulled = 0
        for column, kind in columns.items():
            array, misfits = column_array([event.properties.get(column) for event in batch], kind)
            arrays.append(array)
            nulled += misfits
        table = pa.Table.from_arrays(arrays, schema=self.schemas.arrow_schema(name))
        path = self.root / name / f"{batch[0].sequence:0{DIGITS}}-{batch[-1].sequence:0{DIGITS}}.parquet"
        write_atomically(table, path)
        return nulled


def write_atomically(table: pa.Table, path: Path) -> None:
    """Write a Parquet file so that it is seen whole or not at all, also after a crash."""
    write_whole(path, lambda file: pq.write_table(table, file, compression="zstd", compression_level=1))


def _check(batch: Sequence[HistoryEvent]) -> None:
    last = 0
    for event in batch:
        if event.sequence <= last:
            raise HistoryError(
                f"event {event.sequence} of '{event.name}' comes after {last}; append in ascending order "
                "of sequence numbers, which start at 1"
            )
        if event.occurred_at.tzinfo is None:
            raise HistoryError(f"event {event.sequence} has a naive occurred_at; give an aware UTC time")
        last = event.sequence


def _bounds(part: Path) -> tuple[int, int]:
    first, _, last = part.stem.partition("-")
    return int(first), int(last)
