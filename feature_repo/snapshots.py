"""Computes every view as of a time T from the history, with DuckDB, into `snapshots/<view>/<T>.parquet`.

Only events strictly before T are looked at. A view of users has one row for every user with any event in
the history before T; a view of accounts has one for every account of such users, over the events of all of
them; a view of the population has one row. `event_timestamp` is T.
"""

# ruff: noqa: S608 - names in the SQL come from validated documents, values are escaped literals

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo import sql
from feature_repo.aggregates import FeatureSpec, FeatureType, Source, ViewSpec
from feature_repo.columns import dense_array
from feature_repo.errors import SnapshotMissing
from feature_repo.history import History, write_atomically
from feature_repo.specs import Specs

EVENT_TIMESTAMP = "event_timestamp"
_FILE_TIME = "%Y%m%dT%H%M%S_%fZ"
TIMESTAMP = pa.timestamp("us", tz="UTC")
ARROW_TYPES: dict[FeatureType, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "time": TIMESTAMP,
    "floats": pa.list_(pa.float32()),
}


class Snapshots:
    """Computes and keeps the snapshots below `root`; `threads` is how many cores DuckDB may take."""

    def __init__(self, root: Path, specs: Specs, history: History, threads: int = 1) -> None:
        self.root = root
        self.specs = specs
        self.history = history
        self.threads = threads

    def path(self, view: str, as_of: datetime) -> Path:
        """File of one view as of T."""
        return self.root / view / f"{as_of.astimezone(UTC):{_FILE_TIME}}.parquet"

    def compute(
        self,
        as_of: datetime,
        canonicals: Mapping[str, str] | None = None,
        accounts: Mapping[str, str] | None = None,
    ) -> dict[str, pa.Table]:
        """All views as of T (aware), by name; nothing is written.

        Args:
            canonicals: the user to whom events of another user id belong, by that id.
            accounts: the account that a user belongs to, by user.
        """
        with duckdb.connect(config={"threads": self.threads}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            self._read_history(connection, as_of, canonicals or {})
            found: dict[str, pa.Table] = {}
            of_accounts = [view for view in self.specs.views.values() if view.of_accounts]
            if of_accounts and accounts:
                self._read_accounts(connection, accounts)
                found |= self._views(connection, of_accounts, sql.ACCOUNTS, as_of)
            else:
                found |= {view.name: _nobody(view) for view in of_accounts}
            others = [view for view in self.specs.views.values() if not view.of_accounts]
            found |= self._views(connection, others, sql.USERS, as_of)
            return {name: found[name] for name in self.specs.views}

    def write(
        self,
        as_of: datetime,
        canonicals: Mapping[str, str] | None = None,
        accounts: Mapping[str, str] | None = None,
    ) -> dict[str, pa.Table]:
        """Compute all views as of T and keep them; doing it again replaces the files."""
        tables = self.compute(as_of, canonicals, accounts)
        for view, table in tables.items():
            write_atomically(table, self.path(view, as_of))
        return tables

    def read(self, view: str, as_of: datetime) -> pa.Table:
        """A view as of exactly T. Raises SnapshotMissing."""
        path = self.path(view, as_of)
        if not path.exists():
            raise SnapshotMissing(
                f"view '{view}' was not computed as of {as_of.isoformat()}; take a snapshot first"
            )
        return pq.read_table(path)

    def latest(self, view: str, as_of: datetime) -> tuple[Path, datetime] | None:
        """The file of a view that is of T or the last before it, and the moment that it is of."""
        files = sorted(
            path for path in (self.root / view).glob("*.parquet") if path <= self.path(view, as_of)
        )
        if not files:
            return None
        return files[-1], datetime.strptime(files[-1].stem, _FILE_TIME).replace(tzinfo=UTC)

    def _read_history(
        self, connection: duckdb.DuckDBPyConnection, as_of: datetime, canonicals: Mapping[str, str]
    ) -> None:
        relations: dict[str, str] = {}
        people = {"_profile": list(canonicals), "_canonical": list(canonicals.values())}
        schema = pa.schema([("_profile", pa.string()), ("_canonical", pa.string())])
        connection.register("people", pa.table(people, schema))
        of_person = "* EXCLUDE (_profile, _canonical) REPLACE (coalesce(_canonical, user_id) AS user_id)"
        for event in self.specs.events.events:
            connection.register(f"empty.{event}", self.specs.events.arrow_schema(event).empty_table())
            # The empty table gives columns that no part has yet, when the schema has grown.
            select = f'SELECT * FROM "empty.{event}"'
            if self.history.parts(event):
                files = sql.literal(str(self.history.root / event / "*.parquet"))
                select += f" UNION ALL BY NAME SELECT * FROM read_parquet({files}, union_by_name = true)"
            before = f"occurred_at < make_timestamptz({_microseconds(as_of)})"
            connection.execute(
                f'CREATE TEMP VIEW "history.{event}" AS SELECT {of_person} FROM ({select}) '
                f"LEFT JOIN people ON _profile = user_id WHERE {before}"
            )
            relations[event] = f'"history.{event}"'
        connection.execute(f'CREATE TEMP VIEW "history.any" AS SELECT * FROM {sql.any_event(relations)}')
        connection.execute(
            'CREATE TEMP TABLE users AS SELECT user_id, row_number() OVER (ORDER BY user_id) - 1 AS "_row" '
            'FROM (SELECT DISTINCT user_id FROM "history.any")'
        )
        for name, words in self.specs.vocabularies.items():
            table = pa.table({"word": list(words), "position": pa.array(range(len(words)), pa.int32())})
            connection.register(f"vocabulary.{name}", table)

    def _read_accounts(self, connection: duckdb.DuckDBPyConnection, accounts: Mapping[str, str]) -> None:
        columns = {"user_id": list(accounts), "account_id": list(accounts.values())}
        schema = pa.schema([("user_id", pa.string()), ("account_id", pa.string())])
        connection.register("account_members", pa.table(columns, schema))
        connection.execute(
            "CREATE TEMP TABLE accounts AS SELECT user_id, account_id, "
            'dense_rank() OVER (ORDER BY account_id) - 1 AS "_row" '
            "FROM account_members JOIN users USING (user_id)"
        )

    def _views(
        self,
        connection: duckdb.DuckDBPyConnection,
        views: Sequence[ViewSpec],
        rows: sql.EntityRows,
        as_of: datetime,
    ) -> dict[str, pa.Table]:
        features: dict[Source, list[FeatureSpec]] = defaultdict(list)
        for view in views:
            for feature in view.features:
                features[feature.source].append(feature)
        tables = {source: f"source.{rows.table}.{i}" for i, source in enumerate(features)}
        for source, name in tables.items():
            statement = sql.source_table(name, source, features[source], rows, _microseconds(as_of))
            connection.execute(statement)
        keys = connection.sql(rows.keys()).to_arrow_table()[rows.key]
        return {view.name: self._view(connection, view, tables, rows, keys, as_of) for view in views}

    def _view(
        self,
        connection: duckdb.DuckDBPyConnection,
        view: ViewSpec,
        tables: Mapping[Source, str],
        rows: sql.EntityRows,
        of_rows: pa.ChunkedArray,
        as_of: datetime,
    ) -> pa.Table:
        population = view.only is not None
        keys = pa.chunked_array([pa.array([view.only])]) if population else of_rows
        columns: dict[str, pa.ChunkedArray | pa.Array] = {}
        for group in _groups(view.features):
            query = sql.grouped(
                group,
                tables[group[0].source],
                entity=None if population else rows,
                users=len(of_rows),
                as_of_us=_microseconds(as_of),
            )
            found = connection.sql(query).to_arrow_table()
            by = group[0].by
            for feature in group:
                if by is None:
                    columns[feature.name] = _scalar(found[feature.name], feature.type)
                else:
                    width = len(self.specs.vocabularies[by.vocabulary])
                    columns[feature.name] = _arrays(found, feature, len(keys), width)
        ordered = {feature.name: columns[feature.name] for feature in view.features}
        times = pa.array(np.full(len(keys), _microseconds(as_of)), TIMESTAMP)
        return pa.table({view.key: keys, **ordered, EVENT_TIMESTAMP: times})


def _nobody(view: ViewSpec) -> pa.Table:
    fields = [(feature.name, ARROW_TYPES[feature.type]) for feature in view.features]
    return pa.schema([(view.key, pa.string()), *fields, (EVENT_TIMESTAMP, TIMESTAMP)]).empty_table()


def _groups(features: Iterable[FeatureSpec]) -> list[list[FeatureSpec]]:
    groups: dict[object, list[FeatureSpec]] = defaultdict(list)
    for feature in features:
        by = feature.by
        groups[(feature.source, by and (by.column, by.vocabulary))].append(feature)
    return list(groups.values())


def _scalar(column: pa.ChunkedArray, kind: FeatureType) -> pa.ChunkedArray:
    cast = column.cast(ARROW_TYPES[kind])
    if kind == "float":
        # A rule over NaN is true in DuckDB and false in Python; null is unknown in both.
        return pc.if_else(pc.is_finite(cast), cast, None)
    if kind == "time":
        # Feast keeps whole seconds online, so that is what a time is offline too.
        return pc.floor_temporal(cast, unit="second")
    return cast


def _arrays(found: pa.Table, feature: FeatureSpec, rows: int, width: int) -> pa.Array:
    """Dense arrays (rows × width) from the places where anything happened."""
    nothing = float(feature.measures[0].cap or 0)
    dense: npt.NDArray[np.float32] = np.full((rows, width), nothing, np.float32)
    values = found[feature.name].cast(pa.float64()).to_numpy()
    dense[found["_row"].to_numpy(), found["_position"].to_numpy()] = dense_array(values, nothing)
    offsets = np.arange(0, rows * width + 1, width, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(dense.ravel()))


def _microseconds(moment: datetime) -> int:
    # Integer arithmetic: timestamp() is a float and loses microseconds.
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
