"""The feature repository at work: apply, snapshot, publish, push, and read online and historical features."""

from __future__ import annotations

import sqlite3
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import closing
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from feature_repo import definitions
from feature_repo.aggregates import ACCOUNT_KEY, ACCOUNT_PREFIX, ViewSpec
from feature_repo.disk import using
from feature_repo.errors import LayoutMismatch, OnlineStoreUnreachable, SnapshotMissing
from feature_repo.feast_import import import_feast
from feature_repo.history import History
from feature_repo.layout import DirectAccess
from feature_repo.live import Live
from feature_repo.locks import StoreLock
from feature_repo.online import OnlineAccess, OnlineRow, SdkAccess
from feature_repo.online_url import connection_string
from feature_repo.proof import prove
from feature_repo.snapshots import ARROW_TYPES, EVENT_TIMESTAMP, Snapshots
from feature_repo.specs import Specs
from feature_repo.valkey import ValkeyAccess

_log = structlog.get_logger(__name__)


# No account has it, and a join knows no null.
_NO_ACCOUNT = ""


def _alone(user_id: str) -> Sequence[str]:
    return (user_id,)


class FeatureRepository:
    """A Feast repository with all its state below `root`.

    `history/` events in Parquet, `snapshots/` views as of each T, `state.db` the states that features of now
    are computed from, `registry.db` and `online.db` Feast's own
    (DuckDB offline store, SQLite online store). In each process call `apply` before anything but `history`
    and `snapshot`. Everything may come from any thread and process; writers of the online store take turns,
    snapshots are one process's at a time. `threads` is how many cores DuckDB may take, `online` the services
    that are read online (none named: all). `online_url` is a Valkey or Redis server (redis://…) for the
    online store; empty: a SQLite file here. Raises SpecError for a URL that can't be understood.
    """

    def __init__(
        self, root: Path, specs: Specs, *, threads: int = 1, online: Sequence[str] = (), online_url: str = ""
    ) -> None:
        self.root = root.absolute()
        self.specs = specs
        self.history = History(self.root / "history", specs.events)
        self.snapshots = Snapshots(self.root / "snapshots", specs, self.history, threads)
        self._history_turn = StoreLock(self.root / "history.lock")
        self._online = online
        self._url = online_url
        if online_url:
            connection_string(online_url)
        self._turn = StoreLock(self.root / "online.lock")
        self._joining = threading.Lock()

    @cached_property
    def feast(self) -> Any:
        """Feast's FeatureStore over this repository (the first use imports Feast: seconds)."""
        import_feast()
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
            online_store=self._online_store(),
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
        )
        return FeatureStore(config=config)

    def apply(self) -> None:
        """Write the generated definitions to the registry and create the online tables; may be repeated.

        Proves the direct way into the online store, so that the first read doesn't have to; a server that
        does not answer yet is told of in the log, and proven when it does. Raises StoreUnavailable.
        """
        with self._turn, using(self.root):
            self.feast.apply(definitions.generate(self.specs, self.snapshots.root).all())
            if not self._url:
                with closing(sqlite3.connect(self.root / "online.db")) as connection:
                    # Readers go on while a publish writes; the mode stays with the file.
                    connection.execute("PRAGMA journal_mode = WAL")
            self.refresh()
            try:
                _ = self.online_access
            except OnlineStoreUnreachable as error:
                _log.warning("online store unreachable", error=str(error))

    def _online_store(self) -> dict[str, Any]:
        if not self._url:
            return {"type": "sqlite", "path": str(self.root / "online.db")}
        # Without Feast's own comparison of times, which loses a row of an equal time.
        return {"type": "redis", "connection_string": connection_string(self._url), "skip_dedup": True}

    @cached_property
    def live(self) -> Live:
        """The states of users, moved event by event."""
        return Live(self.root, self.specs, self._views(None), self._turn)

    def refresh(self) -> None:
        """Read the registry again, after another process has applied."""
        self.feast.refresh_registry()
        self.close()

    @cached_property
    def _direct(self) -> DirectAccess | ValkeyAccess:
        if self._url:
            return ValkeyAccess(self._url, definitions.PROJECT, self.specs)
        return DirectAccess(self.root / "online.db", definitions.PROJECT, self.specs)

    @cached_property
    def online_access(self) -> OnlineAccess:
        """The way into the online store: its tables directly, or Feast's SDK if that is not proven equal.

        The first use of a process proves it, which writes. Raises StoreUnavailable, OnlineStoreUnreachable.
        """
        direct = self._direct
        if isinstance(direct, ValkeyAccess):
            direct.ping()
        sdk = SdkAccess(self.feast, self.specs)
        try:
            with using(self.root):
                prove(direct, sdk, self.specs)
        except LayoutMismatch as mismatch:
            _log.warning("online store is read through the SDK, ten times slower", reason=str(mismatch))
            return sdk
        return direct

    def alone(self) -> StoreLock:
        """Return the turn, for a `with`, of whoever writes the history or computes from it."""
        return self._history_turn

    def writing(self) -> StoreLock:
        """Return the turn, for a `with`, of whoever writes online or changes the states."""
        return self._turn

    def snapshot(
        self,
        as_of: datetime,
        canonicals: Mapping[str, str] | None = None,
        accounts: Mapping[str, str] | None = None,
    ) -> int:
        """Compute and keep all views as of T (aware), from events strictly before T; returns users known.

        Args:
            canonicals: the user to whom events of another user id belong, by that id.
            accounts: the account that a user belongs to, by user; features of accounts are over their users.

        Raises StoreUnavailable; views that were kept stay, and doing it again replaces them.
        """
        with self.alone(), using(self.root):
            tables = self.snapshots.write(as_of, canonicals, accounts)
        return max((tables[v.name].num_rows for v in self.specs.views.values() if v.of_users), default=0)

    def publish(
        self,
        as_of: datetime,
        services: Sequence[str] | None = None,
        position: int | None = None,
        canonicals: Mapping[str, str] | None = None,
    ) -> None:
        """Put the snapshot as of T online: the views of these services, or of those that are read online.

        A row gives way to one of a later time, and to those of users with events after `position`, the last
        that the snapshot knows, so a publish never undoes a push. It is written in pieces, each of whole
        users, between which pushes have their turn. Raises SnapshotMissing, UnknownService,
        StoreUnavailable and OnlineStoreUnreachable; then some users' rows are of T, all others as before.
        """
        tables = {view.name: self.snapshots.read(view.name, as_of) for view in self._views(services)}
        for only in (name for name in tables if self.specs.views[name].only is not None):
            with self._turn, using(self.root):
                self._write({only: tables[only]}, frozenset())
        of_users = {name: table for name, table in tables.items() if self.specs.views[name].only is None}
        users = max((table.num_rows for table in of_users.values()), default=0)
        for start in range(0, users, self.online_access.rows_a_write):
            size = self.online_access.rows_a_write
            with self._turn, using(self.root):
                ahead = self.live.ahead_of(position) if position is not None else frozenset[str]()
                ahead |= {(canonicals or {}).get(profile, profile) for profile in ahead}
                self._write({name: table.slice(start, size) for name, table in of_users.items()}, ahead)
        if position is not None:
            self.live.published(position, as_of)

    def push(self, now: datetime, members: Callable[[str], Sequence[str]] = _alone) -> int:
        """Put online the rows of persons that events have changed, as of `now`; returns how many persons.

        `members` as in `Live.show`; by itself every user is one person. Raises StoreUnavailable and
        OnlineStoreUnreachable; what was not written stays to be pushed.
        """
        return self.live.show(self.online_access, now, members)

    def _views(self, services: Sequence[str] | None) -> list[ViewSpec]:
        wanted = services or self._online or list(self.specs.services)
        names = {view.name for service in wanted for view in self.specs.views_of(service)}
        return [v for v in self.specs.views.values() if v.name in names and not v.of_accounts]

    def _write(self, tables: Mapping[str, pa.Table], ahead: Set[str]) -> None:
        self.online_access.write({name: self._newer(name, table, ahead) for name, table in tables.items()})

    def _newer(self, view: str, table: pa.Table, ahead: Set[str]) -> pa.Table:
        """The rows of a snapshot that are not older than what is online."""
        keys = table[self.specs.views[view].key].to_pylist()
        if not keys:
            return table
        second = int(table[EVENT_TIMESTAMP][0].as_py().timestamp())
        there = self.online_access.dates(view, keys)
        older = [there.get(key, 0) > second or key in ahead for key in keys]
        return table.filter(pc.invert(pa.array(older))) if any(older) else table

    def online(self, service: str, user_ids: Sequence[str], now: datetime | None = None) -> list[OnlineRow]:
        """Features of a service for users, in their order; `now` (default: the clock) decides what is stale.

        Raises UnknownService.
        """
        return self.online_access.read(service, user_ids, now if now is not None else datetime.now(UTC))

    def account(self, account_id: str, as_of: datetime) -> tuple[dict[str, Any], datetime | None]:
        """Features of an account, as the last batch at or before T computed them, and when that was.

        Their names are those of aggregates.yaml, with windows: orders_12w. Without any batch, or where none
        of its users ever did anything, they are None. Raises StoreUnavailable.
        """
        views = [view for view in self.specs.views.values() if view.of_accounts]
        names = {
            feature.name: feature.name.removeprefix(ACCOUNT_PREFIX) for v in views for feature in v.features
        }
        values: dict[str, Any] = dict.fromkeys(names.values())
        computed: datetime | None = None
        for view in views:
            with using(self.root):
                latest = self.snapshots.latest(view.name, as_of)
                if latest is None:
                    continue
                path, computed = latest
                rows = pq.read_table(path, filters=[(view.key, "=", account_id)]).to_pylist()
            for row in rows:
                values |= {names[feature.name]: row[feature.name] for feature in view.features}
        return values, computed

    def historical(
        self,
        service: str,
        user_ids: Sequence[str],
        as_of: datetime,
        accounts: Mapping[str, str] | None = None,
    ) -> pa.Table:
        """Features of a service for users as of T, from the snapshots at or before T, by Feast's own join.

        One row a user in their order: `user_id`, then features by name; null where a value is older than its
        ttl or the user was not known. `accounts` is the account that a user belongs to, by user; without one
        the features of accounts are null. Raises UnknownService, StoreUnavailable, and SnapshotMissing if
        there is none at all.
        """
        views = self.specs.views_of(service)
        theirs = [(accounts or {}).get(user, _NO_ACCOUNT) for user in user_ids]
        # Nobody has an account, or none was computed since the view is there: known without a join.
        known = [v for v in views if not v.of_accounts or (any(theirs) and self._was_computed(v))]
        asked = known or views
        for view in asked:
            if not self._was_computed(view):
                raise SnapshotMissing(f"view '{view.name}' has no snapshot yet; take one first")
        keys = {
            v.key: theirs if v.of_accounts else [v.only if v.only is not None else user for user in user_ids]
            for v in asked
        }
        user_key = next((view.key for view in views if view.of_users), views[0].key)
        return self._joined(views, asked, keys, as_of, user_key)

    def historical_of_accounts(self, service: str, account_ids: Sequence[str], as_of: datetime) -> pa.Table:
        """Features of accounts that a service has, as of T, from the snapshots at or before T, by Feast.

        One row an account in their order: `account_id`, then features by name; null where nothing was
        computed of the account. Raises UnknownService, StoreUnavailable.
        """
        views = [view for view in self.specs.views_of(service) if view.of_accounts]
        asked = [view for view in views if self._was_computed(view)]
        return self._joined(views, asked, {ACCOUNT_KEY: account_ids}, as_of, ACCOUNT_KEY)

    def _joined(
        self,
        views: Sequence[ViewSpec],
        asked: Sequence[ViewSpec],
        keys: Mapping[str, Sequence[str]],
        as_of: datetime,
        key: str,
    ) -> pa.Table:
        """Let Feast join the views that are asked; features of the others are null."""
        import pandas as pd  # noqa: PLC0415

        rows = len(keys[key])
        if not rows:
            # Feast can't tell the types of no keys.
            asked = []
        if asked:
            entities = pd.DataFrame({**keys, "_order": range(rows)})
            entities[EVENT_TIMESTAMP] = pd.Timestamp(as_of)
            features = [f"{view.name}:{feature.name}" for view in asked for feature in view.features]
            with self._joining, using(self.root), warnings.catch_warnings():
                # ibis 12 calls a method that DuckDB 2 has renamed.
                warnings.filterwarnings("ignore", r"fetch_arrow_table\(\) is deprecated", DeprecationWarning)
                joined = self.feast.get_historical_features(entity_df=entities, features=features).to_arrow()
            joined = joined.sort_by("_order")
        else:
            joined = pa.table({key: pa.array(keys[key], pa.string())})
        for feature in (feature for view in views if view not in asked for feature in view.features):
            joined = joined.append_column(feature.name, pa.nulls(rows, ARROW_TYPES[feature.type]))
        return joined.select([key, *(feature.name for view in views for feature in view.features)])

    def _was_computed(self, view: ViewSpec) -> bool:
        return any((self.snapshots.root / view.name).glob("*.parquet"))

    def close(self) -> None:
        """Let go of the stores; they are opened again when they are used."""
        self.__dict__.pop("online_access", None)
        for opened in ("_direct", "live"):
            if (one := self.__dict__.pop(opened, None)) is not None:
                one.close()
