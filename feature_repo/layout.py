"""Feast's SQLite online store, read and written directly.

A view is a table `<project>_<view>` with one row an entity and feature: entity_key, feature_name, value (a
serialised `feast.types.Value`), value_text, event_ts. That is Feast's own matter and may change, so
`prove` compares both ways with the SDK before this one is used.

Measured against the SDK: one user's 35 features of 6 views in a tenth of the time, a publish in a third and
in one transaction, so that no reader ever sees half of it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from feature_repo.aggregates import ViewSpec
from feature_repo.encoding import Seen, decode, encode, entity_key, stored_time, true_time
from feature_repo.errors import UnknownService
from feature_repo.online import OnlineRow, ServicePlan
from feature_repo.snapshots import EVENT_TIMESTAMP
from feature_repo.specs import Specs

# Parameters of one IN (…) and of a whole statement, below SQLite's limits.
KEYS_A_QUERY, _PARAMETERS = 500, 30_000


class DirectAccess:
    """Reads and writes the tables itself, with a connection of its own in each thread."""

    rows_a_write = 500

    def __init__(self, path: Path, project: str, specs: Specs) -> None:
        self._path = path
        self._project = project
        self._specs = specs
        self._plans = {name: ServicePlan(specs, name) for name in specs.services}
        self._selects = {name: self._select(plan) for name, plan in self._plans.items()}
        self._places = {
            name: {feature: i for i, names in enumerate(plan.names) for feature in names}
            for name, plan in self._plans.items()
        }
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._offset = _Offset()

    def read(self, service: str, user_ids: Sequence[str], now: datetime) -> list[OnlineRow]:
        plan = self._plans.get(service)
        if plan is None:
            raise UnknownService(f"no feature service '{service}'; declared are: {', '.join(self._plans)}")
        if len(user_ids) > 1 and plan.views:
            most = min(KEYS_A_QUERY, _PARAMETERS // len(plan.views))
            together = [user_ids[start : start + most] for start in range(0, len(user_ids), most)]
            return [row for some in together for row in self._read_together(service, plan, some, now)]
        connection = self._reading()
        select, places, seconds = self._selects[service], self._places[service], int(now.timestamp())
        rows = []
        for user_id in user_ids:
            keys = [entity_key(v.key, v.only if v.only is not None else user_id) for v in plan.views]
            values = plan.empty.copy()
            times: list[int | None] = [None] * len(keys)
            for name, data, moment in connection.execute(select, keys):
                place = places.get(name)
                if place is not None:
                    values[name] = decode(data)
                    times[place] = moment
            rows.append(plan.row(values, [self._offset.true(t) for t in times], seconds))
        return rows

    def _read_together(
        self, service: str, plan: ServicePlan, user_ids: Sequence[str], now: datetime
    ) -> list[OnlineRow]:
        """Read users in one statement, which sees each as they were or as they are written."""
        users = list(dict.fromkeys(user_ids))
        of_key: dict[bytes, list[int]] = {}
        keys: dict[tuple[str, str | None], list[bytes]] = {}
        for join_key, only in {(view.key, view.only): None for view in plan.views}:
            if only is not None:
                own = keys[join_key, only] = [entity_key(join_key, only)]
                of_key[own[0]] = list(range(len(users)))
            else:
                own = keys[join_key, only] = [entity_key(join_key, user) for user in users]
                of_key |= {key: [place] for place, key in enumerate(own)}
        asked = {view.name: keys[view.key, view.only] for view in plan.views}
        select = " UNION ALL ".join(
            f"SELECT entity_key, feature_name, value, event_ts FROM {self._table(name)} "  # noqa: S608
            f"WHERE entity_key IN ({','.join('?' * len(keys))})"
            for name, keys in asked.items()
        )
        places, seen = self._places[service], Seen()
        values = [plan.empty.copy() for _ in users]
        times: list[list[int | None]] = [[None] * len(plan.views) for _ in users]
        parameters = [key for keys in asked.values() for key in keys]
        for key, name, data, moment in self._reading().execute(select, parameters):
            place = places.get(name)
            if place is not None:
                value = seen[data]
                for of in of_key[key]:
                    values[of][name] = value
                    times[of][place] = moment
        seconds, true = int(now.timestamp()), self._offset.true
        rows = {
            user: plan.row(known, [true(one) for one in moments], seconds)
            for user, known, moments in zip(users, values, times, strict=True)
        }
        return [rows[user_id] for user_id in user_ids]

    def dates(self, view: str, keys: Sequence[str]) -> dict[str, int]:
        spec = self._specs.views[view]
        by_key = {entity_key(spec.key, key): key for key in keys}
        found: dict[str, int] = {}
        encoded = list(by_key)
        for start in range(0, len(encoded), KEYS_A_QUERY):
            some = encoded[start : start + KEYS_A_QUERY]
            query = (
                f"SELECT entity_key, max(event_ts) FROM {self._table(view)} "  # noqa: S608 - declared names
                f"WHERE entity_key IN ({','.join('?' * len(some))}) GROUP BY entity_key"
            )
            for key, moment in self._reading().execute(query, some):
                found[by_key[key]] = true_time(moment)
        return found

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=30)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            for view, table in tables.items():
                connection.executemany(self._upsert(view), rows_of(self._specs.views[view], table))
            connection.execute("COMMIT")
        finally:
            connection.close()

    def remove(self, view: str, keys: Sequence[str]) -> int:
        spec = self._specs.views[view]
        statement = f"DELETE FROM {self._table(view)} WHERE entity_key = ?"  # noqa: S608
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=30)) as connection:
            # Otherwise the values stay readable in the file's free space.
            connection.execute("PRAGMA secure_delete = ON")
            there = [connection.execute(statement, (entity_key(spec.key, key),)).rowcount > 0 for key in keys]
        return sum(there)

    def settle(self) -> None:
        """Bring the file up to date and empty its log, unless somebody reads just now."""
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=1)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def stored(self, view: str, key: str) -> list[tuple[Any, ...]]:
        """The rows of one entity as they stand in a view's table."""
        query = f"SELECT * FROM {self._table(view)} WHERE entity_key = ? ORDER BY feature_name"  # noqa: S608
        return self._reading().execute(query, (entity_key(self._specs.views[view].key, key),)).fetchall()

    def _table(self, view: str) -> str:
        return f'"{self._project}_{view}"'

    def _select(self, plan: ServicePlan) -> str:
        return " UNION ALL ".join(
            f"SELECT feature_name, value, event_ts FROM {self._table(view.name)} WHERE entity_key = ?"  # noqa: S608
            for view in plan.views
        )

    def _upsert(self, view: str) -> str:
        return (
            f"INSERT INTO {self._table(view)} "  # noqa: S608
            "(entity_key, feature_name, value, value_text, event_ts) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = excluded.value, "
            "value_text = excluded.value_text, event_ts = excluded.event_ts, created_ts = NULL"
        )

    def _reading(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            uri = f"{self._path.as_uri()}?mode=ro"
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, timeout=30, check_same_thread=False
            )
            self._local.connection = connection
            self._opened.append(connection)  # only `close` touches it from another thread
        return connection

    def close(self) -> None:
        """Close the connections of all threads; reading afterwards fails."""
        while self._opened:
            self._opened.pop().close()


class _Offset:
    """Remembers `true_time` of the few times a store holds, for it is slow beside a lookup."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def true(self, stored: int | None) -> int | None:
        if stored is None:
            return None
        known = self._known.get(stored)
        if known is None:
            if len(self._known) > 100_000:
                self._known.clear()
            known = self._known[stored] = true_time(stored)
        return known


def rows_of(spec: ViewSpec, table: pa.Table) -> Iterable[tuple[bytes, str, bytes, str | None, int]]:
    """Rows of the online table for rows of a view."""
    keys = [entity_key(spec.key, key) for key in table[spec.key].to_pylist()]
    moments = table[EVENT_TIMESTAMP].to_pylist()
    distinct = {moment: stored_time(moment) for moment in set(moments)}
    times = [distinct[moment] for moment in moments]
    for feature in spec.features:
        cells = encode(table[feature.name], feature.type)
        for key, (value, text), moment in zip(keys, cells, times, strict=True):
            yield key, feature.name, value, text, moment
