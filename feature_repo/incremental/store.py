"""The states of all users in one SQLite file, moved from event to event together with the cursor.

A batch of events, the states it changes and the position after it are one transaction, so that an event is
applied exactly once, also when the process dies in between. Users whose online rows are behind their states
are marked in the same transaction and unmarked when the rows are written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from feature_repo.aggregates import ViewSpec
from feature_repo.history import HistoryEvent
from feature_repo.incremental.plan import By, Plan
from feature_repo.incremental.rows import microseconds
from feature_repo.incremental.user import UserState, decode_state, encode_state, take, together
from feature_repo.incremental.values import Firsts, features_of, next_change

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS firsts (
    source INTEGER, grouping TEXT, first INTEGER, PRIMARY KEY (source, grouping)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (
    user_id TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    behind INTEGER NOT NULL,
    due INTEGER,
    state BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS users_behind ON users (behind) WHERE behind > 0;
CREATE INDEX IF NOT EXISTS users_due ON users (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS users_sequence ON users (sequence);
"""
_UPSERT = (
    "INSERT INTO users (user_id, sequence, behind, due, state) VALUES (?, ?, ?, ?, ?) ON CONFLICT (user_id) "
    "DO UPDATE SET sequence = excluded.sequence, behind = excluded.behind, due = excluded.due, "
    "state = excluded.state"
)
_PARAMETERS = 500
# Behind for another reason than an event; only a push makes up for it, for a batch may know it or not.
_MOVED = 2
_REBUILT_AT_ONCE = 2_000


class Current(NamedTuple):
    """Features of one person as of T; `sequences` are the numbers of the profiles' latest events in them.

    `values` is None where nothing has happened before T; `due` is `values.next_change`.
    """

    user_id: str
    sequences: Mapping[str, int]
    values: dict[str, Any] | None
    due: int | None


class StateStore:
    """Not for several threads at a time; another process may have the same file open."""

    def __init__(self, path: Path, plan: Plan) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._plan = plan
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # After a loss of power the file may lack its latest transactions, but is whole: what it lacks is in
        # the ledger, after the position it holds.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        # What a user's state was does not stay readable in the file's free space.
        self._connection.execute("PRAGMA secure_delete = FAST")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        self._connection.close()

    def position(self) -> int | None:
        """Number of the last event that was applied; None: there is nothing to use, so `rebuild_all`."""
        meta = dict(self._connection.execute("SELECT name, value FROM meta"))
        return meta.get("position") if meta.get("fingerprint") == self._plan.fingerprint else None

    def apply(self, events: Sequence[HistoryEvent], before: int, position: int) -> int:
        """Apply events in (before, position], in any order; returns how many users they change.

        Does nothing, and returns 0, if the store is not at `before` any more: somebody else applied them.
        """
        with self._transaction():
            if self.position() != before:
                return 0
            by_user: dict[str, list[HistoryEvent]] = {}
            for event in events:
                if event.name in self._plan.of_event:
                    by_user.setdefault(event.user_id, []).append(event)
            states = self._states(by_user)
            for user_id, some in by_user.items():
                self._take(states.setdefault(user_id, UserState()), some)
            self._connection.executemany(
                _UPSERT,
                [(user, state.sequence, 1, None, encode_state(state)) for user, state in states.items()],
            )
            self._set("position", position)
        return len(by_user)

    def rebuild_all(self, events: Iterable[tuple[str, Iterable[HistoryEvent]]], position: int) -> int:
        """Replace everything by what these events give, user by user; returns how many users there are.

        None of them is marked as behind. Stopped in between, the store is as one that was never built.
        """
        with self._transaction():
            for table in ("meta", "firsts", "users"):
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of this module
        users = 0
        batch: list[tuple[Any, ...]] = []
        for user_id, some in events:
            state = UserState()
            self._take(state, some)
            if state.sequence:
                batch.append((user_id, state.sequence, 0, None, encode_state(state)))
                users += 1
            if len(batch) == _REBUILT_AT_ONCE:
                self._keep(batch)
                batch = []
        self._keep(batch)
        with self._transaction():
            self._set("fingerprint", self._plan.fingerprint)
            self._set("position", position)
        return users

    def rebuild(self, user_id: str, events: Iterable[HistoryEvent]) -> None:
        """Replace one user's state by what these events give; the user counts as behind."""
        state = UserState()
        with self._transaction():
            self._take(state, events)
            self._connection.execute(_UPSERT, (user_id, state.sequence, 1, None, encode_state(state)))

    def drop(self, user_id: str) -> bool:
        """Forget a user's state; returns whether there was one."""
        self._connection.execute("PRAGMA secure_delete = ON")
        try:
            with self._transaction():
                return (
                    self._connection.execute("DELETE FROM users WHERE user_id = ?", (user_id,)).rowcount > 0
                )
        finally:
            self._connection.execute("PRAGMA secure_delete = FAST")

    def settle(self) -> None:
        """Let nothing that was dropped be found on the disk, unless somebody reads just now."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def behind(self, limit: int) -> list[str]:
        """Users whose online rows are behind their states, or who belong to another person now."""
        query = "SELECT user_id FROM users WHERE behind > 0 LIMIT ?"
        return [user_id for (user_id,) in self._connection.execute(query, (limit,))]

    def due(self, now: datetime, limit: int) -> list[str]:
        """Users of whom a value has changed by now because time went by (see `values.next_change`)."""
        query = "SELECT user_id FROM users WHERE due <= ? ORDER BY due LIMIT ?"
        return [user_id for (user_id,) in self._connection.execute(query, (microseconds(now), limit))]

    def ahead_of(self, position: int) -> frozenset[str]:
        """Users with an event above a number."""
        query = "SELECT user_id FROM users WHERE sequence > ?"
        return frozenset(user_id for (user_id,) in self._connection.execute(query, (position,)))

    def users(self, after: str, limit: int) -> list[str]:
        """The next users after one, in order."""
        query = "SELECT user_id FROM users WHERE user_id > ? ORDER BY user_id LIMIT ?"
        return [user_id for (user_id,) in self._connection.execute(query, (after, limit))]

    def current(
        self,
        persons: Mapping[str, Sequence[str]],
        as_of: datetime,
        views: Sequence[ViewSpec] | None = None,
    ) -> list[Current]:
        """Features of persons as of T, those who have a state, of some views or of all.

        `persons` are the ids of their profiles, by the id that each goes by.
        """
        moment, firsts = microseconds(as_of), self._firsts()
        states = self._states(profile for members in persons.values() for profile in members)
        found = []
        for user_id, members in persons.items():
            of_person = {profile: states[profile] for profile in members if profile in states}
            if of_person:
                state = together(self._plan, list(of_person.values()))
                values = features_of(self._plan, state, moment, firsts, views)
                sequences = {profile: one.sequence for profile, one in of_person.items()}
                found.append(Current(user_id, sequences, values, next_change(self._plan, state, moment)))
        return found

    def shown(self, users: Sequence[Current]) -> None:
        """Note that the online rows of these users are as computed; who has newer events stays behind."""
        with self._transaction():
            self._connection.executemany(
                "UPDATE users SET behind = 0, due = ? WHERE user_id = ? AND sequence = ?",
                [
                    (user.due, profile, sequence)
                    for user in users
                    for profile, sequence in user.sequences.items()
                ],
            )

    def published(self, position: int, as_of: datetime) -> None:
        """Note that rows computed from all events up to `position` as of T are online."""
        moment = microseconds(as_of)
        query = "SELECT user_id, sequence FROM users WHERE behind = 1 AND sequence <= ?"
        users = dict(self._connection.execute(query, (position,)).fetchall())
        with self._transaction():
            for user_id, state in self._states(users).items():
                self._connection.execute(
                    "UPDATE users SET behind = 0, due = ? WHERE user_id = ? AND sequence = ?",
                    (next_change(self._plan, state, moment), user_id, users[user_id]),
                )

    def moved(self, user_ids: Iterable[str], revision: int) -> None:
        """Note that these belong to other persons since a revision of who is who."""
        with self._transaction():
            self._connection.executemany(
                "UPDATE users SET behind = ? WHERE user_id = ?", [(_MOVED, one) for one in user_ids]
            )
            self._set("persons", revision)

    def persons_revision(self) -> int:
        """The revision of who is who that `moved` was last told of."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'persons'").fetchone()
        return 0 if row is None else int(row[0])

    def size(self) -> tuple[int, int]:
        """How many users there are, and how many bytes their states have."""
        users, size = self._connection.execute(
            "SELECT count(*), coalesce(sum(length(state)), 0) FROM users"
        ).fetchone()
        return int(users), int(size)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A disk that is full has ended the transaction itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _keep(self, batch: Sequence[tuple[Any, ...]]) -> None:
        with self._transaction():
            self._connection.executemany(_UPSERT, batch)

    def _take(self, state: UserState, events: Iterable[HistoryEvent]) -> None:
        for (number, by), first in take(self._plan, state, events).items():
            self._connection.execute(
                "INSERT INTO firsts VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET first = min(first, excluded.first)",
                (number, ".".join(by or ()), first),
            )

    def _set(self, name: str, value: Any) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def _firsts(self) -> Firsts:
        firsts: dict[tuple[int, By | None], int] = {}
        for number, grouping, first in self._connection.execute("SELECT source, grouping, first FROM firsts"):
            column, _, vocabulary = grouping.partition(".")
            firsts[number, (column, vocabulary) if grouping else None] = first
        return firsts

    def _states(self, user_ids: Iterable[str]) -> dict[str, UserState]:
        wanted = list(user_ids)
        states: dict[str, UserState] = {}
        for start in range(0, len(wanted), _PARAMETERS):
            some = wanted[start : start + _PARAMETERS]
            marks = ",".join("?" * len(some))
            query = f"SELECT user_id, state FROM users WHERE user_id IN ({marks})"  # noqa: S608 - marks
            for user_id, data in self._connection.execute(query, some):
                states[user_id] = decode_state(self._plan, data)
        return states


def by_user(events: Iterable[HistoryEvent]) -> Iterator[tuple[str, Iterator[HistoryEvent]]]:
    """Events in the order of users, as `rebuild_all` takes them."""
    return groupby(events, key=lambda event: event.user_id)
