"""Features of now: events change the states of users, and the rows of those users go online.

What depends on time alone goes online again when it changes, if its window is shorter than a day
(`incremental.values.next_change`); everything else is as of its row's time, which the batch renews.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from feature_repo.aggregates import ViewSpec
from feature_repo.disk import using
from feature_repo.history import HistoryEvent
from feature_repo.incremental.plan import make_plan
from feature_repo.incremental.store import Current, StateStore, by_user
from feature_repo.locks import StoreLock
from feature_repo.online import OnlineAccess, view_table
from feature_repo.snapshots import ARROW_TYPES, EVENT_TIMESTAMP
from feature_repo.specs import Specs

# Users of one turn at the store; others wait for no more than that.
USERS_A_TURN = 500


class Batch(NamedTuple):
    """Events in the order of their numbers, and the number up to which there are no others; 0: none came."""

    events: Sequence[HistoryEvent]
    last: int


class Persons(Protocol):
    """Says which profiles moved from one person to another; each move has a higher revision."""

    @property
    def revision(self) -> int: ...

    def moved_since(self, revision: int) -> Iterable[str]:
        """Profiles of persons that changed after a revision."""
        ...


class Live:
    """The states below `root`, and the way from them into the online store.

    `views` are those of users that are read online. Every method takes a turn of its own at the store.
    """

    def __init__(self, root: Path, specs: Specs, views: Iterable[ViewSpec], turn: StoreLock) -> None:
        self._root = root
        self._specs = specs
        self._views = [view for view in views if view.of_users]
        self._turn = turn
        self.states = StateStore(root / "state.db", make_plan(specs))

    def position(self) -> int | None:
        """Number of the last event in the states; None: there are none for these specs, `rebuild` them."""
        with self._turn, using(self._root):
            return self.states.position()

    def rebuild(self, events: Iterable[HistoryEvent], position: int) -> int:
        """Replace all states by what these events, in the order of users, give; returns users."""
        with self._turn, using(self._root):
            return self.states.rebuild_all(by_user(events), position)

    def take(self, read: Callable[[int], Batch]) -> Batch:
        """Let the next events into the states; returns them.

        `read` gives the events after a position, in the order of their numbers. It is called in the turn, so
        that an erasure finds either the events where they are read from or the states.
        """
        with self._turn, using(self._root):
            position = self.states.position()
            batch = read(position) if position is not None else Batch([], 0)
            if batch.last and position is not None:
                self.states.apply(batch.events, position, batch.last)
            return batch

    def follow(self, persons: Persons) -> None:
        """Note which profiles belong to other persons now; `show` puts the persons online."""
        with self._turn, using(self._root):
            before = self.states.persons_revision()
            if persons.revision != before:
                revision = persons.revision
                self.states.moved(persons.moved_since(before), revision)

    def show(self, access: OnlineAccess, now: datetime, members: Callable[[str], Sequence[str]]) -> int:
        """Put online what has changed, as of `now`; returns how many persons' rows were written.

        `members` gives the profiles of the person that a profile belongs to; the first is the id it goes by.
        """
        shown = 0
        while True:
            with self._turn, using(self._root):
                users = self.states.behind(USERS_A_TURN) or self.states.due(now, USERS_A_TURN)
                if not users:
                    return shown
                persons = {profiles[0]: profiles for profiles in map(members, users)}
                current = self.states.current(persons, now, self._views)
                access.write(self._tables(current, now))
                self.states.shown(current)
                shown += len(current)

    def ahead_of(self, position: int) -> frozenset[str]:
        """Users with an event that a batch computed up to `position` does not know."""
        return self.states.ahead_of(position)

    def published(self, position: int, as_of: datetime) -> None:
        """Rows computed from the events up to `position` as of T are online."""
        with self._turn, using(self._root):
            self.states.published(position, as_of)

    def close(self) -> None:
        self.states.close()

    def _tables(self, users: Sequence[Current], now: datetime) -> Mapping[str, pa.Table]:
        tables: dict[str, pa.Table] = {}
        for view in self._views:
            rows: list[Mapping[str, Any]] = [
                {**user.values, view.key: user.user_id, EVENT_TIMESTAMP: now}
                for user in users
                if user.values is not None
            ]
            if rows:
                tables[view.name] = view_table(view, rows, ARROW_TYPES)
        return tables
