"""The feature repository at work: apply, snapshot, publish, push, and read online and historical features."""

from __future__ import annotations

import sqlite3
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from feature_repo import definitions
from feature_repo.aggregates import ViewSpec
from feature_repo.disk import using
from feature_repo.errors import LayoutMismatch, SnapshotMissing, UnknownService
from feature_repo.history import History
from feature_repo.layout import DirectAccess
from feature_repo.locks import StoreLock
from feature_repo.online import OnlineAccess, OnlineRow, SdkAccess, view_table
from feature_repo.proof import prove
from feature_repo.snapshots import ARROW_TYPES, EVENT_TIMESTAMP, Snapshots
from feature_repo.specs import Specs

_log = structlog.get_logger(__name__)

BATCH = 500  # rows a push hands over at once


def import_feast() -> None:
    """Import Feast now, which takes seconds, rather than at the first use."""
    import feast  # noqa: F401, PLC0415


class FeatureRepository:
    """A Feast repository with all its state below `root`.

    `history/` events in Parquet, `snapshots/` views as of each T, `registry.db` and `online.db` Feast's own
    (DuckDB offline store, SQLite online store). In each process call `apply` before anything but `history`
    and `snapshot`. Reads may come from any thread; snapshot, publish and push from one process at a time.
    `threads` is how many cores DuckDB may take.
    """

    def __init__(self, root: Path, specs: Specs, *, threads: int = 1) -> None:
        self.root = root.absolute()
        self.specs = specs
        self.history = History(self.root / "history", specs.events)
        self.snapshots = Snapshots(self.root / "snapshots", specs, self.history, threads)
        self._history_turn = StoreLock(self.root / "history.lock")
        self._writing = threading.Lock()
        self._joining = threading.Lock()

    @cached_property
    def feast(self) -> Any:
        """Feast's FeatureStore over this repository (the first use imports Feast: seconds)."""
        from feast import FeatureStore, RepoConfig  # noqa: PLC0415
        from feast.repo_config import RegistryConfig  # noqa: PLC0415

        self.root.mkdir(parents=True, exist_ok=True)
        config = RepoConfig(
            project=definitions.PROJECT,
            provider="local",
            # 0 = never refreshed by itself: a refresh would happen inside some user's request.
            registry=RegistryConfig(
                registry_store_type="feature_repo.registry.WholeFileRegistryStore",
                path=str(self.root / "registry.db"),
                cache_ttl_seconds=0,
            ),
            online_store={"type": "sqlite", "path": str(self.root / "online.db")},
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
        )
        return FeatureStore(config=config)

    def apply(self) -> None:
        """Write the generated definitions to the registry and create the online tables; may be repeated.

        Proves the direct way into the online store, so that the first read doesn't have to. Raises
        StoreUnavailable.
        """
        with using(self.root):
            self.feast.apply(definitions.generate(self.specs, self.snapshots.root).all())
            with closing(sqlite3.connect(self.root / "online.db")) as connection:
                # Readers go on while a publish writes; the mode stays with the file.
                connection.execute("PRAGMA journal_mode = WAL")
            self.refresh()
            _ = self.online_access

    def refresh(self) -> None:
        """Read the registry again, after another process has applied."""
        self.feast.refresh_registry()
        self.close()

    @cached_property
    def online_access(self) -> OnlineAccess:
        """The way into the online store: its tables directly, or Feast's SDK if that is not proven equal."""
        sdk = SdkAccess(self.feast, self.specs)
        direct = DirectAccess(self.root / "online.db", definitions.PROJECT, self.specs)
        try:
            prove(direct, sdk, self.specs)
        except LayoutMismatch as mismatch:
            _log.warning("online store is read through the SDK, ten times slower", reason=str(mismatch))
            return sdk
        return direct

    def alone(self) -> StoreLock:
        """Return the turn, for a `with`, of whoever writes the history or computes from it."""
        return self._history_turn

    def snapshot(self, as_of: datetime, canonicals: Mapping[str, str] | None = None) -> int:
        """Compute and keep all views as of T (aware), from events strictly before T; returns users known.

        Args:
            canonicals: the user to whom events of another user id belong, by that id.

        Raises StoreUnavailable; views that were kept stay, and doing it again replaces them.
        """
        with self.alone(), using(self.root):
            tables = self.snapshots.write(as_of, canonicals)
        return max((tables[v.name].num_rows for v in self.specs.views.values() if v.only is None), default=0)

    def publish(self, as_of: datetime, services: Sequence[str] | None = None) -> None:
        """Put the snapshot as of T online: the views of these services, or all of them.

        Computed views replace what is there. Rows of pushed views carry the time of the user's latest event
        and give way to newer ones, so a publish never undoes a push. Readers see all of it or nothing.
        Raises SnapshotMissing, UnknownService, and StoreUnavailable, which leaves online what was there.
        """
        wanted = self.specs.services if services is None else services
        names = {view.name for service in wanted for view in self.specs.views_of(service)}
        with self._writing, using(self.root):
            tables: dict[str, pa.Table] = {}
            for view in (one for one in self.specs.views.values() if one.name in names):
                table = self.snapshots.read(view.name, as_of)
                tables[view.name] = (
                    self._newer(view, _dated_by_event(view, table).to_pylist()) if view.pushed else table
                )
            self.online_access.write(tables)

    def push(self, view: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """Push rows (key, event_timestamp, some or all features) of a pushed view; returns users written.

        Rows may be in any order: of several for a user the newest value of each feature counts, a row older
        than what is online changes nothing, and features a row does not have keep their values.
        Raises UnknownService if the view takes no pushes, and StoreUnavailable; then the rows before a
        batch that failed are online, and all may be pushed again.
        """
        spec = self.specs.views.get(view)
        if spec is None or not spec.pushed:
            takers = ", ".join(v.name for v in self.specs.views.values() if v.pushed) or "none"
            raise UnknownService(f"view '{view}' takes no pushes; views that do: {takers}")
        batch = list(rows)
        written = 0
        with self._writing, using(self.root):
            for start in range(0, len(batch), BATCH):
                table = self._newer(spec, batch[start : start + BATCH])
                self.online_access.write({view: table})
                written += table.num_rows
        return written

    def online(self, service: str, user_ids: Sequence[str], now: datetime | None = None) -> list[OnlineRow]:
        """Features of a service for users, in their order; `now` (default: the clock) decides what is stale.

        Raises UnknownService.
        """
        return self.online_access.read(service, user_ids, now if now is not None else datetime.now(UTC))

    def historical(self, service: str, user_ids: Sequence[str], as_of: datetime) -> pa.Table:
        """Features of a service for users as of T, from the snapshots at or before T, by Feast's own join.

        One row a user in their order: `user_id`, then features by name; null where a value is older than its
        ttl or the user was not known. Raises UnknownService, StoreUnavailable, and SnapshotMissing if there
        is none at all.
        """
        import pandas as pd  # noqa: PLC0415

        views = self.specs.views_of(service)
        for view in views:
            if not any((self.snapshots.root / view.name).glob("*.parquet")):
                raise SnapshotMissing(f"view '{view.name}' has no snapshot yet; take one first")
        keys = {v.key: [v.only if v.only is not None else user for user in user_ids] for v in views}
        entities = pd.DataFrame({**keys, "_order": range(len(user_ids))})
        entities[EVENT_TIMESTAMP] = pd.Timestamp(as_of)
        features = [f"{view.name}:{feature.name}" for view in views for feature in view.features]
        with self._joining, using(self.root), warnings.catch_warnings():
            # ibis 12 calls a method that DuckDB 2 has renamed.
            warnings.filterwarnings("ignore", r"fetch_arrow_table\(\) is deprecated", DeprecationWarning)
            joined = self.feast.get_historical_features(entity_df=entities, features=features).to_arrow()
        names = [feature.name for view in views for feature in view.features]
        user_key = next((view.key for view in views if view.only is None), views[0].key)
        return joined.sort_by("_order").select([user_key, *names])

    def close(self) -> None:
        """Close the connections that reads have opened."""
        access = self.__dict__.pop("online_access", None)
        if access is not None:
            access.close()

    def _newer(self, spec: ViewSpec, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Whole rows to write: those that are not older than what is online, completed from it."""
        merged: dict[str, dict[str, Any]] = {}
        for row in sorted(rows, key=lambda row: row[EVENT_TIMESTAMP]):
            merged.setdefault(row[spec.key], {}).update(row)
        there = self.online_access.times(spec.name, list(merged))
        fresh = []
        for key, row in merged.items():
            moment, values = there.get(key, (0, {}))
            if int(row[EVENT_TIMESTAMP].timestamp()) >= moment:
                fresh.append({**values, **row})
        return view_table(spec, fresh, ARROW_TYPES)


def _dated_by_event(view: ViewSpec, table: pa.Table) -> pa.Table:
    """The snapshot of a pushed view, each row dated by its user's latest event instead of T."""
    # As integers, for Arrow has no maximum of times.
    times = [table[f.name].cast(pa.int64()) for f in view.features if f.type == "time"]
    if not times:
        return table
    kind = table.schema.field(EVENT_TIMESTAMP).type
    dated = pc.coalesce(pc.max_element_wise(*times).cast(kind), table[EVENT_TIMESTAMP])
    return table.set_column(table.schema.get_field_index(EVENT_TIMESTAMP), EVENT_TIMESTAMP, dated)
