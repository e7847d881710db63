"""Selecting users: finds out who is in which audience, keeps it, and tells who came in and went out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from pyroaring import BitMap
from sqlalchemy import Connection

from audiences.accounts.primary import Accounts, NoAccounts
from audiences.definitions import Definitions
from audiences.rules import Rule, Schema
from audiences.selection import repository, runs
from audiences.selection.catalog import Catalog, Catalogs
from audiences.selection.changes import change
from audiences.selection.crowds import Reader
from audiences.selection.evaluation import People, evaluate, holding
from audiences.selection.memberships import Memberships
from audiences.selection.numbering import Numberer
from audiences.selection.population import Population, Source
from audiences.selection.repository import Numbered, State, Upload
from audiences.selection.runs import Run, Runs
from audiences.selection.tagging import TagRules
from audiences.selection.telling import Telling
from audiences.service import OF_ACCOUNT
from feature_repo.store import FeatureRepository
from storage import readers
from storage.engine import Database
from storage.errors import NextplayError
from storage.faultpoints import reached
from storage.ledger import Kind
from storage.pace import Pace
from storage.writer import TURN_ROWS

# The cursor up to which the history that features are computed from has taken in events.
HISTORY_READER = "feature_history"
# Facts after which a user is looked at again: at once, and when the features have them.
_MOVING = (Kind.EVENT, Kind.PAST_EVENT, Kind.TAG, Kind.SCORE, Kind.STAGE, Kind.IDENTITY)
_IN_FEATURES = (Kind.EVENT, Kind.PAST_EVENT, Kind.IDENTITY)
# Bitmaps that go in a turn at most.
_DROPPED = 100
_FULL, _CHANGED = "full", "changed"


class Audiences:
    """The audiences of one service. One evaluation runs at a time."""

    def __init__(
        self,
        database: Database,
        features: FeatureRepository,
        definitions: Definitions,
        schema: Schema,
        *,
        sources: Sequence[Source] = (),
        canonical: Callable[[str], str] = str,
        accounts: Accounts | None = None,
        fenced: Database | None = None,
        overdue_after: timedelta = runs.OVERDUE_AFTER,
        reader: Reader | None = None,
    ) -> None:
        """Wire the audiences.

        Args:
            definitions: those of the library's file.
            schema: what rules may speak of.
            sources: what other services know of users.
            canonical: under which id a user's person goes; only these are in audiences.
            accounts: the account of a user, whose features rules may name; None: nobody has one.
            fenced: the database as evaluations write to it, if they need a lease.
            reader: reads users and answers rules of them; None: this process.
        """
        self._database = fenced or database
        self._features = features
        self.canonical = canonical
        self._accounts = accounts or NoAccounts()
        self._lock = threading.Lock()
        self._telling = Telling(self._database)
        self._tagging = TagRules(self._database)
        self._numberer = Numberer(self._database)
        self._dropping = Pace(_DROPPED)
        self.catalogs = Catalogs(database, definitions, schema)
        self.population = Population(database, features, schema, sources, canonical, accounts, reader)
        self.runs = Runs(self._database, overdue_after=overdue_after)
        self.memberships = Memberships(canonical)
        # Of the latest full evaluation: what a draft is counted with at once.
        self.people: tuple[People, datetime] | None = None
        with database.read() as connection:
            self.memberships.load(connection)

    def evaluate(self, as_of: datetime) -> dict[str, int]:
        """Evaluate every audience and tag rule for all users as of a moment.

        Reads features through Feast as they were at `as_of`, so nothing later is known. All audiences
        become live at once; who entered and left is recorded after that, by the next run if this one stops.

        Returns:
            Size of each audience.

        Raises:
            feature_repo.errors.SnapshotMissing: no features were computed yet.
            RunOverdue: it did not go on; what was live stays live.
        """
        return self._run(_FULL, as_of, self._read_everybody)

    def evaluate_changed(self, as_of: datetime) -> dict[str, int] | None:
        """Evaluate for those users of whom something was recorded since the last run.

        What changes by time alone is found by the next full evaluation.

        Returns:
            Size of each audience; None if a full evaluation is needed first: definitions changed, or there
            was none yet.
        """
        with self._database.read() as connection:
            if self._outdated(connection):
                return None
            since = self._since(connection)
        if since is None:
            return None
        return self._run(_CHANGED, as_of, partial(self._read_changed, since=since))

    def due(self, now: datetime, every: timedelta) -> bool:
        """Whether a full evaluation is due: the last one is as old as `every`, or definitions changed."""
        with self._database.read() as connection:
            if self._outdated(connection):
                return True
            full = next((run for run in self.runs.done(connection) if run.kind == _FULL), None)
        return full is None or abs(now - full.as_of) >= every

    def everybody(self, as_of: datetime, tags: Collection[str]) -> tuple[list[str | None], People]:
        """All users, by id and as rows in the same order, with their features and some tags as of a moment.

        Those whom an evaluation of that moment has read are not read again; of who was erased or joined to
        another since then there is a row and no id.

        Raises:
            feature_repo.errors.SnapshotMissing: no features were computed yet.
        """
        Numberer(self._database).number_all()
        users = self.users()
        held = self.people
        if held is None or held[1] != as_of:
            people = self.population.read(users, tags, as_of, everybody=True)
        else:
            people = replace(held[0], tags=self.population.carrying(tags, as_of))
        ids = {user.number: user.user_id for user in users}
        return [ids.get(number) for number in people.numbers.tolist()], people

    def users(self) -> list[Numbered]:
        """All persons there are, in the order of their numbers."""
        with self._database.read() as connection:
            everybody = repository.population(connection)
        return [one for one in everybody if self.canonical(one.user_id) == one.user_id]

    def is_current(
        self, catalog: Catalog, audience: str, live: Mapping[str, State], lists: Mapping[str, Upload]
    ) -> bool:
        """Whether an audience was evaluated by the definition, and the list, that it has now."""
        return audience in live and live[audience].definition == _definition(catalog, audience, lists)

    def _run(
        self, kind: str, as_of: datetime, read: Callable[[Run, Catalog, datetime], People]
    ) -> dict[str, int]:
        with self._lock:
            with self._database.read() as connection:
                # Before the features are looked at: what they do not have yet is looked at again.
                seen = repository.end_of_ledger(connection)
                position = readers.position_of(connection, HISTORY_READER)
            run = self.runs.begin(kind, as_of, seen, position, self._features_there())
            try:
                sizes = self.runs.watched(run, partial(self._work, run, as_of, read))
            except BaseException as error:
                said = str(error) if isinstance(error, NextplayError) else type(error).__name__
                # The database may be what failed; then the next run ends this one.
                with suppress(Exception):
                    self.runs.end(run, runs.FAILED, said[:1000])
                raise
            self.runs.end(run, runs.DONE)
            with self._database.read() as connection:
                self.memberships.load(connection)
            return sizes

    def _work(
        self, run: Run, as_of: datetime, read: Callable[[Run, Catalog, datetime], People]
    ) -> dict[str, int]:
        self._telling.tell_all(lambda: self.runs.beat(run))
        self._numberer.number_all(lambda: self.runs.beat(run))
        with self._database.read() as connection:
            catalog = self.catalogs.read(connection)
            live = repository.live(connection)
            before = repository.members(connection, live.values())
            lists = repository.latest_lists(connection)
        people = read(run, catalog, as_of)
        self.runs.beat(run, len(people.numbers))
        # Nobody is left in an audience that is no more.
        gone = {name: BitMap() for name in live.keys() - catalog.specs.keys() if before[name]}
        members_of = {name: upload.members for name, upload in lists.items()}
        found = evaluate(catalog.definitions, people, members_of, before, as_of)
        found |= gone
        tagged = holding(
            catalog.definitions.tag_rules,
            people,
            lambda name: found.get(name, BitMap()),
            as_of,
        )
        self.runs.beat(run)
        quiet = _begun(catalog, live, lists) | gone.keys()
        new = [
            self._stage(run, name, found[name], before.get(name, BitMap()), quiet=name in quiet)
            for name in sorted(found)
        ]
        states = [
            State(
                name,
                run.id,
                (live[name].revision if name in live else 0) + 1,
                _definition(catalog, name, lists),
                as_of,
                size,
            )
            for name, size in new
        ]
        reached("audiences.staged")
        self._make_live(run, states)
        reached("audiences.live")
        self._telling.tell_all(lambda: self.runs.beat(run))
        for spec, numbers in zip(catalog.definitions.tags, tagged, strict=True):
            self._tagging.tag(spec, numbers, as_of, renew=people.everybody)
        self._dropping.until_done(self._database, _drop_unused)
        if people.everybody:
            self.people = people, as_of
        return {state.audience: state.size for state in states}

    def _read_everybody(self, run: Run, catalog: Catalog, as_of: datetime) -> People:
        return self._read(run, catalog, self.users(), as_of, everybody=True)

    def _read_changed(self, run: Run, catalog: Catalog, as_of: datetime, since: tuple[int, int]) -> People:
        with self._database.read() as connection:
            found = repository.touched(connection, since[0], _MOVING)
            found += repository.touched(connection, since[1], _IN_FEATURES)
            last = self.runs.done(connection)[0].as_of
        changed = {self.canonical(user) for user in found}
        if any(name.startswith(OF_ACCOUNT) for rule in _rules(catalog) for name in rule.names):
            # What one does changes the features of all who share the account.
            changed |= self._accounts.moved_since(last) | self._accounts.told_after(since[0])
            changed |= self._accounts.colleagues(changed)
        with self._database.read() as connection:
            numbers = repository.numbers_of(connection, changed)
        users = sorted(Numbered(number, user) for user, number in numbers.items())
        return self._read(run, catalog, users, as_of, everybody=False)

    def _read(
        self, run: Run, catalog: Catalog, users: Sequence[Numbered], as_of: datetime, *, everybody: bool
    ) -> People:
        tags = {tag for rule in _rules(catalog) for tag in rule.tags}
        return self.population.read(users, tags, as_of, everybody=everybody, beat=lambda: self.runs.beat(run))

    def _since(self, connection: Connection) -> tuple[int, int] | None:
        """From where in the ledger users are looked at again, and from where for what features are made of.

        A run saw the events up to its position only if the features of its time had them. Those that came
        too late for the features of the last run are after the position of the last run that saw older ones.
        """
        done = self.runs.done(connection)
        if not any(run.kind == _FULL for run in done):
            return None
        if done[0].features == self._features_there():
            return done[0].seen, done[0].position
        older = next((run for run in done if run.features != done[0].features), None)
        return done[0].seen, 0 if older is None else older.position

    def _outdated(self, connection: Connection) -> bool:
        catalog, live = self.catalogs.read(connection), repository.live(connection)
        uploads = repository.latest_lists(connection)
        return not all(
            self.is_current(catalog, one.id, live, uploads) for one in catalog.definitions.audiences
        )

    def _features_there(self) -> str:
        """By what the newest features are known."""
        newest = [
            max((path.name for path in folder.glob("*.parquet")), default="")
            for folder in sorted(self._features.snapshots.root.glob("*"))
        ]
        return max(newest, default="")

    def _stage(
        self, run: Run, audience: str, inside: BitMap, before: BitMap, *, quiet: bool
    ) -> tuple[str, int]:
        moved = change(before, inside)

        def work(connection: Connection) -> None:
            runs.check(connection, run)
            repository.stage(connection, audience, run.id, inside, moved, quiet=quiet)

        self._database.write(work)
        return audience, len(inside)

    def _make_live(self, run: Run, states: Sequence[State]) -> None:
        def work(connection: Connection) -> None:
            runs.check(connection, run)
            repository.make_live(connection, states)

        # Larger than a turn only where there are more than 500 audiences; they are live all at once or not.
        self._database.write(work, rows=min(len(states), TURN_ROWS))


def _rules(catalog: Catalog) -> list[Rule]:
    return [*catalog.definitions.rules.values(), *catalog.definitions.tag_rules]


def _definition(catalog: Catalog, audience: str, lists: Mapping[str, Upload]) -> str:
    """By what it is known that an audience was evaluated as it is defined now."""
    etag = catalog.etags.get(audience, "").strip('"')
    return f"{etag}/{lists[audience].version}" if audience in lists else etag


def _begun(catalog: Catalog, live: Mapping[str, State], lists: Mapping[str, Upload]) -> set[str]:
    """The audiences whose changes are of their beginning: new ones, changed ones, and what is made of these.

    Who is in a list was put there, so an upload is news; and a definition may say that it begins aloud.
    """
    changed = {
        name
        for name, spec in catalog.specs.items()
        if spec.kind != "list"
        and (name not in live or live[name].definition != _definition(catalog, name, lists))
    }
    return {name for name in catalog.definitions.made_of(changed) if catalog.specs[name].quiet is not False}


def _drop_unused(connection: Connection, limit: int) -> tuple[int, int]:
    dropped = repository.drop_unused(connection, limit)
    return dropped, dropped
