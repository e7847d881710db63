"""Feast's online store on Valkey or Redis, read and written directly.

An entity is a hash under its serialised key and the project's name; a feature of a view is the field
mmh3("<view>:<feature>"), 4 bytes, little-endian, and `_ts:<view>` is the time of the view's row, a serialised
Timestamp (feast/infra/online_stores/redis.py). That is Feast's own matter and may change, so `prove` compares
both ways with the SDK before this one is used.

All views of an entity are one hash: one HMGET reads them and one HSET writes them, so that a reader sees an
entity as it was or as it is written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import hiredis
import mmh3
import numpy as np
import pyarrow as pa
import redis

from feature_repo.aggregates import FeatureSpec, ViewSpec
from feature_repo.encoding import EPOCH, FLOAT, Seen, encode, entity_key, read_varint, varint
from feature_repo.errors import OnlineStoreUnreachable, UnknownService
from feature_repo.online import Age, OnlineRow, ServicePlan
from feature_repo.online_url import connection_string, shown
from feature_repo.snapshots import EVENT_TIMESTAMP
from feature_repo.specs import Specs
from feature_repo.undecoded import Places, Undecoded

# How long a decision waits for its features; a write of a thousand rows may take longer.
READ_SECONDS, WRITE_SECONDS = 0.25, 10.0
# How long nobody asks again after the server did not answer.
PAUSE_SECONDS = 1.0
_PIPELINE = 500
_RECEIVED = 1 << 16
# Decoded values that are kept: counts come again and again.
_KEPT = 4_096

# Where features of users are whose views are equally old, and that age.
_Known = tuple[Mapping[str, int | None], Age]


class ValkeyAccess:
    """Reads and writes the hashes itself, over connections of its own in each thread."""

    rows_a_write = 2_000

    def __init__(self, url: str, project: str, specs: Specs, *, patience: float = READ_SECONDS) -> None:
        """Nothing is asked of the server yet. Raises SpecError for a URL that can't be understood."""
        connection_string(url)
        self._shown = shown(url)
        self._project = project.encode()
        self._specs = specs
        self._plans = {name: ServicePlan(specs, name) for name in specs.services}
        self._asked = {name: _groups(plan) for name, plan in self._plans.items()}
        self._places = {
            name: Places([(one.fields, one.views) for one in groups]) for name, groups in self._asked.items()
        }
        self._pools = {
            seconds: redis.ConnectionPool.from_url(
                url, socket_timeout=seconds, socket_connect_timeout=seconds
            )
            for seconds in (patience, WRITE_SECONDS)
        }
        self._patience = patience
        self._local = threading.local()
        self._opened: list[_Connection] = []
        self._refusing_until = 0.0
        self._seen = Seen()

    def read(self, service: str, user_ids: Sequence[str], now: datetime) -> list[OnlineRow]:
        plan = self._plans.get(service)
        if plan is None:
            raise UnknownService(f"no feature service '{service}'; declared are: {', '.join(self._plans)}")
        groups, seconds = self._asked[service], int(now.timestamp())
        commands = [
            _hmget(
                self._key(group.key, group.only if group.only is not None else user_id),
                group.packed,
                group.fields,
            )
            for user_id in user_ids
            for group in groups
        ]
        replies = self._ask(commands, self._patience)
        rows, seen, known = [], self._decoded(), dict[tuple[bytes | None, ...], _Known]()
        places = self._places[service]
        for user in range(len(user_ids)):
            own = replies[user * len(groups) : (user + 1) * len(groups)]
            fields = own[0] if len(own) == 1 else list(chain(*own))
            stamps = tuple([fields[place] for place in places.stamps])
            # Most users were computed at the same time.
            found = known.get(stamps)
            if found is None:
                times = [None if stamp is None else _seconds(stamp) for stamp in stamps]
                age = plan.age(times, seconds)
                found = known[stamps] = places.known(fields, age.stale), age
            rows.append(OnlineRow(Undecoded(found[0], fields, seen), *found[1]))
        return rows

    def _decoded(self) -> Seen:
        """Return values that were decoded before, to which others are added."""
        if len(self._seen) > _KEPT:
            self._seen = Seen()
        return self._seen

    def dates(self, view: str, keys: Sequence[str]) -> dict[str, int]:
        spec = self._specs.views[view]
        packed = _bulk(_stamp_field(view))
        commands = [_hmget(self._key(spec.key, key), packed, 1) for key in keys]
        replies = self._ask(commands, WRITE_SECONDS)
        return {key: _seconds(one[0]) for key, one in zip(keys, replies, strict=True) if one[0] is not None}

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        rows: dict[tuple[str, str], list[bytes]] = {}
        sizes: dict[tuple[str, str], int] = {}
        for view, table in tables.items():
            spec = self._specs.views[view]
            fields = len(spec.features) + 1
            for key, packed in zip(table[spec.key].to_pylist(), _rows(spec, table), strict=True):
                rows.setdefault((spec.key, key), []).append(packed)
                sizes[spec.key, key] = sizes.get((spec.key, key), 0) + fields
        commands = [
            b"*%d\r\n$4\r\nHSET\r\n%b%b" % (2 + 2 * sizes[of], _bulk(self._key(*of)), b"".join(packed))
            for of, packed in rows.items()
        ]
        self._ask(commands, WRITE_SECONDS)

    def remove(self, view: str, keys: Sequence[str]) -> int:
        spec = self._specs.views[view]
        fields = [_stamp_field(view), *(_field(view, one.name) for one in spec.features)]
        packed = b"".join(map(_bulk, fields))
        commands = [
            b"*%d\r\n$4\r\nHDEL\r\n%b%b" % (2 + len(fields), _bulk(self._key(spec.key, key)), packed)
            for key in keys
        ]
        return sum(reply > 0 for reply in self._ask(commands, WRITE_SECONDS))

    def settle(self) -> None:
        """Valkey holds nothing of what was removed, but for its own persistence."""

    def stored(self, view: str, key: str) -> list[tuple[Any, ...]]:
        """The fields of one entity's row as they stand there."""
        spec = self._specs.views[view]
        fields = [_stamp_field(view), *(_field(view, one.name) for one in spec.features)]
        packed = b"".join(map(_bulk, fields))
        (reply,) = self._ask([_hmget(self._key(spec.key, key), packed, len(fields))], WRITE_SECONDS)
        return list(zip(fields, reply, strict=True)) if any(one is not None for one in reply) else []

    def ping(self) -> None:
        """Raises OnlineStoreUnreachable if the server does not answer."""
        self._ask([b"*1\r\n$4\r\nPING\r\n"], self._patience)

    def close(self) -> None:
        """Close the connections of all threads."""
        while self._opened:
            self._opened.pop().close()

    def _key(self, name: str, value: str) -> bytes:
        return entity_key(name, value) + self._project

    def _ask(self, commands: Sequence[bytes], seconds: float) -> list[Any]:
        """Send commands in pipelines and return their replies."""
        if time.monotonic() < self._refusing_until:
            raise OnlineStoreUnreachable(f"the online store at {self._shown} did not answer a moment ago")
        replies: list[Any] = []
        for start in range(0, len(commands), _PIPELINE):
            replies += self._pipeline(commands[start : start + _PIPELINE], seconds)
        return replies

    def _pipeline(self, commands: Sequence[bytes], seconds: float) -> list[Any]:
        packed = b"".join(commands)
        connection, is_new = self._connection(seconds)
        try:
            return connection.exchange(packed, len(commands))
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            connection.close()
            if not is_new and not isinstance(error, redis.TimeoutError | TimeoutError):
                # The server may have been restarted; every command may be repeated.
                try:
                    return connection.exchange(packed, len(commands))
                except (redis.ConnectionError, redis.TimeoutError, OSError) as again:
                    connection.close()
                    error = again
            self._refusing_until = time.monotonic() + PAUSE_SECONDS
            said = " ".join(str(error).split()) or type(error).__name__
            raise OnlineStoreUnreachable(
                f"the online store at {self._shown} does not answer ({said}): start Valkey there, or leave "
                "NEXTPLAY_ONLINE_URL empty to use the one in the data folder"
            ) from error
        except redis.ResponseError as error:
            connection.close()
            raise OnlineStoreUnreachable(f"the online store at {self._shown} refuses: {error}") from error

    def _connection(self, seconds: float) -> tuple[_Connection, bool]:
        connections: dict[float, _Connection] | None = getattr(self._local, "connections", None)
        if connections is None:
            connections = self._local.connections = {}
        if seconds in connections:
            return connections[seconds], False
        connection = connections[seconds] = _Connection(self._pools[seconds])
        self._opened.append(connection)
        return connection, True


class _Connection:
    """A connection of redis-py, which knows passwords and TLS, with replies parsed in one go."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._opened: Any = pool.make_connection()
        self._reader = hiredis.Reader()

    def exchange(self, packed: bytes, number: int) -> list[Any]:
        """Send commands and return their replies. Raises redis.RedisError and OSError."""
        if self._opened._sock is None:
            self._opened.connect()
            self._reader = hiredis.Reader()
        socket = self._opened._sock
        socket.sendall(packed)
        replies: list[Any] = []
        while len(replies) < number:
            data = socket.recv(_RECEIVED)
            if not data:
                raise redis.ConnectionError("the connection was closed")
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, hiredis.HiredisError):
                    raise redis.ResponseError(str(reply))
                replies.append(reply)
        return replies

    def close(self) -> None:
        self._opened.disconnect()


class _Group:
    """Views of a service under one entity: the fields to ask for, and where each view's are in the reply."""

    def __init__(self, key: str, only: str | None) -> None:
        self.key = key
        self.only = only
        self.packed = b""
        self.fields = 0
        self.views: list[tuple[int, int, list[str]]] = []

    def add(self, place: int, view: ViewSpec) -> None:
        names = [feature.name for feature in view.features]
        self.views.append((place, self.fields, names))
        self.packed += _bulk(_stamp_field(view.name)) + b"".join(
            _bulk(_field(view.name, name)) for name in names
        )
        self.fields += 1 + len(names)


def _groups(plan: ServicePlan) -> list[_Group]:
    groups: dict[tuple[str, str | None], _Group] = {}
    for place, view in enumerate(plan.views):
        groups.setdefault((view.key, view.only), _Group(view.key, view.only)).add(place, view)
    return list(groups.values())


def _field(view: str, feature: str) -> bytes:
    return mmh3.hash(f"{view}:{feature}", signed=False).to_bytes(4, "little")


def _stamp_field(view: str) -> bytes:
    return f"_ts:{view}".encode()


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _hmget(key: bytes, packed: bytes, fields: int) -> bytes:
    return b"*%d\r\n$5\r\nHMGET\r\n$%d\r\n%b\r\n%b" % (2 + fields, len(key), key, packed)


def _seconds(stamp: bytes) -> int:
    """Seconds of a serialised Timestamp; of 0 seconds nothing is written."""
    if not stamp or stamp[0] != 0x08:
        return 0
    value, _ = read_varint(stamp, 1)
    return value - (1 << 64) if value >> 63 else value


def _stamp(moment: datetime) -> bytes:
    delta = moment - EPOCH
    seconds, nanos = delta.days * 86_400 + delta.seconds, delta.microseconds * 1_000
    return (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(nanos) if nanos else b"")


def _rows(spec: ViewSpec, table: pa.Table) -> list[bytes]:
    """For each row the arguments of HSET after the key: time and features, as bulk strings."""
    moments = table[EVENT_TIMESTAMP].to_pylist()
    head = _bulk(_stamp_field(spec.name))
    stamps = {moment: head + _bulk(_stamp(moment)) for moment in set(moments)}
    columns = [[stamps[moment] for moment in moments]]
    columns += [_column(spec.name, feature, table[feature.name]) for feature in spec.features]
    return list(map(b"".join, zip(*columns, strict=True)))


def _column(view: str, feature: FeatureSpec, values: pa.ChunkedArray) -> list[bytes]:
    head = _bulk(_field(view, feature.name))
    if feature.type == "float":
        return _floats(head, values)
    if feature.type == "int":
        found = values.to_pylist()
        known: dict[Any, bytes] = {}
        for value in set(found):
            (data, _), *_ = encode(pa.chunked_array([pa.array([value], pa.int64())]), "int")
            known[value] = head + _bulk(data)
        return [known[value] for value in found]
    return [b"%b$%d\r\n%b\r\n" % (head, len(data), data) for data, _ in encode(values, feature.type)]


def _floats(head: bytes, values: pa.ChunkedArray) -> list[bytes]:
    """All of one length, so they are laid side by side at once."""
    numbers = values.to_numpy(zero_copy_only=False).astype("<f8", copy=False)
    front = np.frombuffer(head + b"$9\r\n" + bytes((FLOAT,)), np.uint8)
    width = len(front) + 10
    laid = np.empty((len(numbers), width), np.uint8)
    laid[:, : len(front)] = front
    laid[:, len(front) : len(front) + 8] = numbers.view(np.uint8).reshape(-1, 8)
    laid[:, -2:] = np.frombuffer(b"\r\n", np.uint8)
    whole = laid.tobytes()
    rows = [whole[at : at + width] for at in range(0, len(whole), width)]
    for place in np.flatnonzero(np.isnan(numbers)):
        rows[place] = head + b"$0\r\n\r\n"
    return rows
