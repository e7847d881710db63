"""Selecting users: finds out who is in which audience, keeps it, and tells who came in and went out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import msgspec
from pyroaring import BitMap
from sqlalchemy import Connection

from audiences import repository as users_repository
from audiences.accounts.primary import Accounts, NoAccounts
from audiences.definitions import Definitions, TagSpec
from audiences.rules import Rule, Schema
from audiences.selection import repository, runs
from audiences.selection.bitmaps import to_numbers
from audiences.selection.catalog import Catalog, Catalogs
from audiences.selection.changes import change
from audiences.selection.evaluation import Answers, People, evaluate, holding, locally
from audiences.selection.memberships import Memberships
from audiences.selection.population import Population, Source
from audiences.selection.repository import Numbered, State, Untold, Upload
from audiences.selection.runs import Run, Runs
from audiences.service import OF_ACCOUNT, set_tags
from feature_repo.store import FeatureRepository
from storage import ledger
from storage.engine import Database
from storage.errors import NextplayError
from storage.faultpoints import reached
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.pace import Pace
from storage.writer import TURN_ROWS

# The cursor up to which the history that features are computed from has taken in events.
HISTORY_READER = "feature_history"
# Facts after which a user is looked at again: at once, and when the features have them.
_MOVING = (Kind.EVENT, Kind.PAST_EVENT, Kind.TAG, Kind.SCORE, Kind.STAGE, Kind.IDENTITY)
_IN_FEATURES = (Kind.EVENT, Kind.PAST_EVENT, Kind.IDENTITY)
# At most in a turn: a tag writes a row and a fact, a change a fact and how far it is told.
_PER_TURN = TURN_ROWS // 2
_FULL, _CHANGED = "full", "changed"


class Membership(msgspec.Struct, frozen=True):
    """Body of the fact that a user entered or left an audience."""

    audience: str
    entered: bool
    as_of: datetime


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
        threads: int = 1,
        answers: Answers | None = None,
    ) -> None:
        """Wire the audiences.

        Args:
            definitions: those of the library's file.
            schema: what rules may speak of.
            sources: what other services know of users.
            canonical: under which id a user's person goes; only these are in audiences.
            accounts: the account of a user, whose features rules may name; None: nobody has one.
            fenced: the database as evaluations write to it, if they need a lease.
            answers: who answers rules over columns; None: this process, with `threads`.
        """
        self._database = fenced or database
        self._features = features
        self.canonical = canonical
        self._accounts = accounts or NoAccounts()
        self._answers = answers or locally(threads)
        self._lock = threading.Lock()
        self._telling = Pace(_PER_TURN)
        self._tagging = Pace(_PER_TURN)
        self.catalogs = Catalogs(database, definitions, schema)
        self.population = Population(database, features, schema, sources, canonical, accounts)
        self.runs = Runs(self._database, overdue_after=overdue_after)
        self.memberships = Memberships(canonical)
        # Of the latest full evaluation: what a draft is counted with at once.
        self.people: tuple[People, datetime] | None = None
        with database.read() as connection:
            self.memberships.load(connection)

    @property
    def answers(self) -> Answers:
        """Who answers rules over columns."""
        return self._answers

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
                position = ledger.position_of(connection, HISTORY_READER)
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
        self._tell_all(run)
        self._number_users(run)
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
        found = evaluate(catalog.definitions, people, members_of, before, as_of, self._answers)
        found |= gone
        tagged = holding(
            catalog.definitions.tag_rules,
            people,
            lambda name: found.get(name, BitMap()),
            as_of,
            self._answers,
        )
        self.runs.beat(run)
        new = [self._stage(run, name, found[name], before.get(name, BitMap())) for name in sorted(found)]
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
        self._tell_all(run)
        for spec, numbers in zip(catalog.definitions.tags, tagged, strict=True):
            self._tag(spec, numbers, as_of, renew=people.everybody)
        while (
            self._database.write(lambda connection: repository.drop_unused(connection, 100), rows=100) == 100
        ):
            pass
        if people.everybody:
            self.people = people, as_of
        return {state.audience: state.size for state in states}

    def _read_everybody(self, run: Run, catalog: Catalog, as_of: datetime) -> People:
        with self._database.read() as connection:
            everybody = repository.population(connection)
        users = [one for one in everybody if self.canonical(one.user_id) == one.user_id]
        return self._read(run, catalog, users, as_of, everybody=True)

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

    def _number_users(self, run: Run) -> None:
        while True:
            with self._database.read() as connection:
                some = repository.unnumbered(connection, TURN_ROWS)
            if not some:
                return
            self._database.write(partial(repository.number_users, user_ids=some), rows=len(some))
            self.runs.beat(run)

    def _stage(self, run: Run, audience: str, inside: BitMap, before: BitMap) -> tuple[str, int]:
        moved = change(before, inside)

        def work(connection: Connection) -> None:
            runs.check(connection, run)
            repository.stage(connection, audience, run.id, inside, moved.entered, moved.left)

        self._database.write(work)
        return audience, len(inside)

    def _make_live(self, run: Run, states: Sequence[State]) -> None:
        def work(connection: Connection) -> None:
            runs.check(connection, run)
            repository.make_live(connection, states)

        # Larger than a turn only where there are more than 500 audiences; they are live all at once or not.
        self._database.write(work, rows=min(len(states), TURN_ROWS))

    def _tell_all(self, run: Run) -> None:
        with self._database.read() as connection:
            waiting = repository.untold(connection)
        for one in waiting:
            self._tell(run, one)

    def _tell(self, run: Run, one: Untold) -> None:
        changes = [(number, True) for number in to_numbers(one.entered).tolist()]
        changes += [(number, False) for number in to_numbers(one.left).tolist()]
        told = [(place, *changed) for place, changed in enumerate(changes)][one.told + 1 :]
        self._telling.write(self._database, told, partial(_record, change=one, last=len(changes) - 1))
        self.runs.beat(run)

    def _tag(self, spec: TagSpec, numbers: BitMap, as_of: datetime, *, renew: bool) -> None:
        """Tag those who do not carry the tag; `renew`: let it last for those who do, which is no news."""
        expires_at = as_of + spec.expires_after if spec.expires_after else None
        with self._database.read() as connection:
            carried = users_repository.holders_of(connection, spec.tag, as_of)
        row = {"tag": spec.tag, "source": "rule", "set_at": as_of, "expires_at": expires_at}

        def tag(connection: Connection, users: Sequence[str]) -> int:
            set_tags(connection, users, spec.tag, "rule", as_of, expires_at)
            return len(users)

        def let_last(connection: Connection, users: Sequence[str]) -> int:
            users_repository.set_tags(connection, [{"user_id": user, **row} for user in users])
            return len(users)

        with self._database.read() as connection:
            holders = repository.ids_of(connection, list(numbers))
        self._tagging.write(self._database, [user for user in holders if user not in carried], tag)
        if renew and expires_at is not None:
            self._tagging.write(self._database, [user for user in holders if user in carried], let_last)


def _rules(catalog: Catalog) -> list[Rule]:
    return [*catalog.definitions.rules.values(), *catalog.definitions.tag_rules]


def _definition(catalog: Catalog, audience: str, lists: Mapping[str, Upload]) -> str:
    """By what it is known that an audience was evaluated as it is defined now."""
    etag = catalog.etags.get(audience, "").strip('"')
    return f"{etag}/{lists[audience].version}" if audience in lists else etag


def _record(
    connection: Connection, share: Sequence[tuple[int, int, bool]], *, change: Untold, last: int
) -> int:
    """Tell some of the changes of an evaluation, unless another run did; places count from 0 to `last`."""
    first, end = share[0][0], share[-1][0]
    if not repository.tell(connection, change.audience, change.run, first - 1, None if end == last else end):
        return 0
    # Of who was erased meanwhile nothing is told.
    known = repository.names_of(connection, [number for _, number, _ in share])
    as_of = change.as_of
    facts = [
        NewFact(
            Kind.AUDIENCE,
            new_id(as_of),
            f"{change.audience}.{'entered' if entered else 'left'}",
            known[number],
            as_of,
            Membership(change.audience, entered, as_of),
        )
        for _, number, entered in share
        if number in known
    ]
    ledger.append(connection, facts, as_of)
    return len(facts)
