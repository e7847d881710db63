"""The decision log as Parquet: a row a decision, arrays as lists, maps as JSON text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from learning.exports.logged import Logged

# Rows of one row group: with 40 arms some 15 MB.
_GROUP = 5_000
_encode = msgspec.json.Encoder().encode


def _json(value: Any) -> str:
    return _encode(value).decode()


def _record(name: str) -> Callable[[Logged], Any]:
    return lambda one: getattr(one.decision, name)


def _map(name: str) -> Callable[[Logged], Any]:
    return lambda one: _json(getattr(one.decision, name))


_MOMENT = pa.timestamp("us", tz="UTC")
_NUMBERS, _NAMES = pa.list_(pa.float64()), pa.list_(pa.string())
_COLUMNS: Sequence[tuple[str, Any, Callable[[Logged], Any]]] = [
    *((name, pa.string(), _record(name)) for name in ("decision_id", "user_id", "placement")),
    ("decided_at", _MOMENT, _record("decided_at")),
    *((name, pa.string(), _record(name)) for name in ("request_key", "seed", "library", "policy")),
    ("playbook", pa.string(), _record("playbook")),
    ("playbook_version", pa.int64(), _record("playbook_version")),
    ("arm", pa.string(), _record("arm")),
    ("chosen", pa.int64(), _record("chosen")),
    ("propensity", pa.float64(), _record("propensity")),
    ("draw", pa.float64(), _record("draw")),
    ("refused_by", pa.string(), _record("refused_by")),
    ("fallback", pa.string(), _record("fallback")),
    ("reward", pa.float64(), lambda one: one.reward and one.reward.earned),
    ("outcome", pa.string(), lambda one: one.reward and one.reward.outcome),
    *((name, _NAMES, _record(name)) for name in ("holdout", "audiences", "arms", "narrowed")),
    *((name, _NUMBERS, _record(name)) for name in ("scores", "costs", "deviations", "probabilities")),
    *((name, pa.string(), _map(name)) for name in ("features", "levers", "uses", "suppressed", "pilots")),
]
_SCHEMA = pa.schema([(name, kind) for name, kind, _ in _COLUMNS])


class ParquetSink:
    """Writes rows in groups; the file is whole once it is closed."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")
        self._waiting: list[Logged] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def write(self, one: Logged) -> None:
        """Add a row."""
        self._waiting.append(one)
        if len(self._waiting) == _GROUP:
            self._flush()

    def _flush(self) -> None:
        columns = [pa.array([value(one) for one in self._waiting], kind) for _, kind, value in _COLUMNS]
        if self._waiting:
            self._writer.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA))
        self._waiting = []
