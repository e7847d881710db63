"""What an online read answers, and the way through Feast's own SDK.

Feast ignores a view's ttl online; here a value older than its view's ttl is null and named as stale.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from feature_repo.aggregates import FeatureType, ViewSpec
from feature_repo.columns import column_array
from feature_repo.errors import LayoutMismatch
from feature_repo.snapshots import EVENT_TIMESTAMP
from feature_repo.specs import Specs

DAY_SECONDS = 86_400


class OnlineRow(NamedTuple):
    """Features of one user, by name.

    Values are int, float, str, bool, aware datetime (whole seconds), a read-only NumPy float32 array for
    `floats`, or None. `missing` says that no view has a row for the user; `as_of` is the time that the oldest
    row is of; `stale` names the features that are null because of their age, `outdated` says that all
    rows of the user that can be are too old.
    """

    values: Mapping[str, Any]
    missing: bool
    as_of: datetime | None
    stale: tuple[str, ...]
    outdated: bool


class Age(NamedTuple):
    """How old an `OnlineRow` is; see there."""

    missing: bool
    as_of: datetime | None
    stale: tuple[str, ...]
    outdated: bool


class OnlineAccess(Protocol):
    """A way into the online store. Thread-safe."""

    @property
    def rows_a_write(self) -> int:
        """How many entities to hand to one `write`, so that others need not wait for long."""
        ...

    def read(self, service: str, user_ids: Sequence[str], now: datetime) -> list[OnlineRow]:
        """One row for each user asked for, in their order. Raises UnknownService."""
        ...

    def dates(self, view: str, keys: Sequence[str]) -> dict[str, int]:
        """Of the rows of one view that exist: key → the time it is of, in seconds since 1970."""
        ...

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        """Write rows of views (key, features, event_timestamp), each replacing what is there.

        A reader sees the rows of one entity as they were or as they are written, in all views.
        """
        ...

    def remove(self, view: str, keys: Sequence[str]) -> int:
        """Take entities out of a view; returns how many there were. Raises LayoutMismatch if it can't."""
        ...

    def settle(self) -> None:
        """Let nothing that was removed be found on the disk, as far as that can be helped."""
        ...

    def close(self) -> None:
        """Let go of the store; reading afterwards fails."""
        ...


class ProvenAccess(OnlineAccess, Protocol):
    """A way that goes past Feast, and so has to be proven equal to it."""

    def stored(self, view: str, key: str) -> list[tuple[Any, ...]]:
        """What is kept of one entity in a view, as it is kept."""
        ...


class ServicePlan:
    """What reading a service needs to know of its views, worked out once."""

    def __init__(self, specs: Specs, service: str) -> None:
        # Features of accounts are there as of the last batch only, for those who select.
        self.views = [view for view in specs.views_of(service) if not view.of_accounts]
        self.names: list[list[str]] = [[f.name for f in view.features] for view in self.views]
        self.empty: dict[str, Any] = dict.fromkeys(name for names in self.names for name in names)
        self.expires = [v.ttl_days * DAY_SECONDS if v.ttl_days is not None else None for v in self.views]
        self.of_user = [view.of_users for view in self.views]

    def row(self, values: dict[str, Any], times: Sequence[int | None], now: int) -> OnlineRow:
        """The answer from values by name and, for each view, the time of its row in seconds since 1970."""
        age = self.age(times, now)
        for name in age.stale:
            values[name] = None
        return OnlineRow(values, *age)

    def age(self, times: Sequence[int | None], now: int) -> Age:
        """What follows from the time of each view's row, in seconds since 1970."""
        stale: tuple[str, ...] = ()
        missing, fresh = True, False
        oldest: int | None = None
        for i, moment in enumerate(times):
            if moment is None:
                continue
            expires = self.expires[i]
            if expires is not None:
                if now - moment > expires:
                    stale += tuple(self.names[i])
                else:
                    fresh = fresh or self.of_user[i]
            if self.of_user[i]:
                missing = False
                if oldest is None or moment < oldest:
                    oldest = moment
        as_of = datetime.fromtimestamp(oldest, UTC) if oldest is not None else None
        return Age(missing, as_of, stale, bool(stale) and not missing and not fresh)


def plain(value: Any, kind: FeatureType) -> Any:
    """A value as Feast gives it, in the type an OnlineRow has."""
    if value is None:
        return None
    if kind == "floats":
        array = np.asarray(value, np.float32)
        array.flags.writeable = False
        return array
    return value


class SdkAccess:
    """Through Feast's FeatureStore: always right for this version of Feast, about 0.6 ms a user."""

    rows_a_write = 500

    def __init__(self, store: Any, specs: Specs) -> None:
        self._store = store
        self._specs = specs
        self._lock = threading.Lock()
        self._plans = {name: ServicePlan(specs, name) for name in specs.services}
        # Fetching a service deserialises it from the registry each time (2 ms), hence once.
        self._services = {name: store.get_feature_service(name) for name in specs.services}
        self._views = {name: store.get_feature_view(name) for name in specs.views}

    def read(self, service: str, user_ids: Sequence[str], now: datetime) -> list[OnlineRow]:
        if not user_ids:
            return []
        views = self._specs.views_of(service)
        keys = {v.key: [v.only if v.only is not None else user for user in user_ids] for v in views}
        answer = self._ask(self._services[service], keys)
        plan = self._plans[service]
        rows = []
        for i in range(len(user_ids)):
            values = {f.name: plain(answer[f.name][i], f.type) for view in plan.views for f in view.features}
            times = [answer[f"{names[0]}__ts"][i] or None for names in plan.names]
            rows.append(plan.row(values, times, int(now.timestamp())))
        return rows

    def dates(self, view: str, keys: Sequence[str]) -> dict[str, int]:
        spec = self._specs.views[view]
        name = spec.features[0].name
        answer = self._ask([f"{view}:{name}"], {spec.key: list(keys)}) if keys else {f"{name}__ts": []}
        return {key: at for key, at in zip(keys, answer[f"{name}__ts"], strict=True) if at}

    def _ask(self, features: Any, keys: dict[str, list[str]]) -> dict[str, list[Any]]:
        with self._lock:
            response = self._store.get_online_features(features=features, entity_rows=keys)
        answer: dict[str, list[Any]] = response.to_dict(include_event_timestamps=True)
        return answer

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        for view, table in tables.items():
            if table.num_rows:
                # Not write_to_online_store: it refuses rows whose features are all null, which are facts too.
                frame = table.to_pandas(integer_object_nulls=True)
                with self._lock:
                    self._store.provider.ingest_df(self._views[view], frame)

    def settle(self) -> None:
        """Nothing to do: nothing is removed this way."""

    def remove(self, view: str, keys: Sequence[str]) -> int:
        raise LayoutMismatch(
            "Feast's SDK can't take a user out of the online store: stop the service, remove online.db from "
            "its folder of features, and run the job `features`, which fills it anew"
        )

    def close(self) -> None:
        """Nothing to do: the connection is Feast's."""


def view_table(
    spec: ViewSpec, rows: Sequence[Mapping[str, Any]], types: Mapping[FeatureType, Any]
) -> pa.Table:
    """Rows (key, event_timestamp, features) as a table of the view.

    An absent feature is null, and so is a value that does not fit its type, NaN or an infinity.
    """
    columns: dict[str, Any] = {spec.key: pa.array([row[spec.key] for row in rows], pa.string())}
    for feature in spec.features:
        values = [row.get(feature.name) for row in rows]
        columns[feature.name] = (
            pa.array(values, types[feature.type])
            if feature.type == "floats"
            else column_array(values, feature.type)[0]
        )
    columns[EVENT_TIMESTAMP] = pa.array([row[EVENT_TIMESTAMP] for row in rows], pa.timestamp("us", tz="UTC"))
    return pa.table(columns)
