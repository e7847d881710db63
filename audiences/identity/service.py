"""Identity at work: finds out whose events are, joins what is one person, takes joins back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec
import structlog
from sqlalchemy import Connection

from audiences import repository as users_repository
from audiences.accounts import repository as accounts_repository
from audiences.accounts.repository import Said
from audiences.errors import UnknownUser
from audiences.events import Event
from audiences.identity import repository
from audiences.identity.errors import (
    AlreadyOne,
    AlreadyUndone,
    BelongsToAnother,
    MergeCycle,
    SameUser,
    UnknownMerge,
    UserErased,
)
from audiences.identity.graph import Graph
from audiences.identity.ids import check_ids, identities_of, spelled
from audiences.identity.known import Known
from audiences.identity.looking import Lookup
from audiences.identity.models import (
    ANONYMOUS_ID,
    Cause,
    Identity,
    Join,
    JoinBody,
    KindRule,
    Undone,
)
from audiences.identity.people import JoinedPeople
from audiences.identity.resolution import JOINED, TAKEN_BACK, UNDONE, Changes, Resolution, State
from storage import ledger
from storage.engine import Database
from storage.errors import NextplayError
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import Lane

_log = structlog.get_logger(__name__)

# Rows that one join or undo writes at most: the profiles of a person, facts, marks.
_ROWS = 100


class Parted(msgspec.Struct, frozen=True):
    """What taking a join back did: `apart` says whether the two are two persons now.

    If not, the joins of `still_by` hold them together.
    """

    id: str
    apart: bool
    still_by: tuple[str, ...] = ()


class IdentityService:
    """Implements `audiences.intake.ports.Identities`, and what operators do. Thread-safe."""

    def __init__(
        self, database: Database, rules: Mapping[str, KindRule] | None = None, *, phone_region: str = ""
    ) -> None:
        """Load who was joined.

        Args:
            rules: what identities of a kind may do, where that is not the default.
            phone_region: ISO 3166 code of the country of phone numbers without a country code.
        """
        self._database = database
        self._rules = dict(rules or {})
        self._region = phone_region
        self.people = JoinedPeople(database)
        self.lookup = Lookup(database, self.people, phone_region, map(spelled, self._rules))
        self._known = Known(database, self.people, phone_region)
        # The highest revision that a transaction of this process was about to commit.
        self._awaited = 0

    def check(self, event: Event) -> None:
        """Make sure that an event says whose it is (see `check_ids`). Raises EventRefused."""
        check_ids(event, self._region)

    def resolve(self, connection: Connection, events: Sequence[Event]) -> list[str]:
        profiles = self._profiles_of(connection, events)
        said = [
            Said(event.account_id, profile, event.properties, event.occurred_at)
            for event, profile in zip(events, profiles, strict=True)
            if event.type == "group" and event.account_id
        ]
        if said:
            accounts_repository.record(connection, said)
        return profiles

    def _profiles_of(self, connection: Connection, events: Sequence[Event]) -> list[str]:
        profiles: list[str | None] = [self._known.profile_of(event) for event in events]
        open_ = [event for event, profile in zip(events, profiles, strict=True) if profile is None]
        if open_:
            self._known.learn(open_)
            profiles = [self._known.profile_of(event) for event in events]
            open_ = [event for event, profile in zip(events, profiles, strict=True) if profile is None]
        if not open_:
            return [profile or "" for profile in profiles]
        found = iter(self._resolve(connection, open_))
        return [next(found) if profile is None else profile for profile in profiles]

    def committed(self) -> None:
        """Take in what events have joined; called when they are durable."""
        if self.people.revision < self._awaited:
            try:
                self.refresh()
            except Exception:  # noqa: BLE001 - the events are recorded, and whoever follows looks again soon
                _log.warning("could not look who was joined", exc_info=True)

    def refresh(self) -> None:
        """Know what any process has joined or taken back until now."""
        self._known.forget(self.people.refresh())

    def merge(self, profile: str, into: str, *, by: str, why: str, now: datetime) -> Join:
        """Make two users one person, who goes by `into` from then on.

        Raises:
            UnknownUser: one of them does not exist.
            SameUser, AlreadyOne, MergeCycle, BelongsToAnother, UserErased: it can't be, or is so already.
        """
        if profile == into:
            raise SameUser(f"{profile!r} and {into!r} are one id: name two users")

        def work(connection: Connection) -> Join:
            repository.lock_joining(connection)
            graph = repository.graph_of(connection, [profile, into])
            join = Join(new_id(now), profile, into, Cause.MERGE, now, by=by, why=why)
            _check_merge(connection, graph, join)
            before = _persons(graph)
            graph.add(join)
            repository.record_joins(connection, [join])
            _record_persons(connection, before, graph, repository.revision_of(connection) + 1)
            _append(connection, [_fact(JOINED, join.id, join, join.joined_at)], now)
            _append(connection, [_change("users_merged", join, by, why, now)], now)
            return join

        join = self._database.write(work, rows=_ROWS, lane=Lane.REQUEST)
        self.refresh()
        return join

    def undo(self, join_id: str, *, by: str, why: str, now: datetime) -> Parted:
        """Take a join back: everything is as if it had not been made, and it is not made again by itself.

        Raises:
            UnknownMerge: there is no join with this id.
            AlreadyUndone: it was taken back before.
        """
        with self._database.read() as connection:
            evidence = _found(connection, join_id).evidence

        def work(connection: Connection) -> Parted:
            repository.lock(connection, _keys([evidence] if evidence else []))
            repository.lock_joining(connection)
            join = _found(connection, join_id)
            graph = repository.graph_of(connection, [join.profile, join.into])
            before = _persons(graph)
            graph.remove(join.id)
            repository.record_undone(connection, join.id, Undone(now, by, why))
            if evidence is not None and evidence.kind != ANONYMOUS_ID and not join.is_weak:
                repository.record_shared(connection, evidence, now, TAKEN_BACK)
            _record_persons(connection, before, graph, repository.revision_of(connection) + 1)
            told = msgspec.structs.replace(join, by=by, why=why)
            _append(connection, [_fact(UNDONE, f"{join.id}:undone", told, now)], now)
            _append(connection, [_change("merge_undone", join, by, why, now)], now)
            path = graph.path(join.profile, join.into)
            return Parted(join.id, not path, tuple(one.id for one in path))

        parted = self._database.write(work, rows=_ROWS, lane=Lane.REQUEST)
        self.refresh()
        return parted

    def split(self, profile: str, *, by: str, why: str, now: datetime) -> list[Parted]:
        """Take one profile out of its person: take back every join with it."""
        with self._database.read() as connection:
            graph = repository.graph_of(connection, [profile])
            if profile not in graph.first_seen:
                raise _unknown(profile)
            ids = [join.id for join in graph.joins if profile in (join.profile, join.into)]
        return [self.undo(join_id, by=by, why=why, now=now) for join_id in ids]

    def _resolve(self, connection: Connection, events: Sequence[Event]) -> list[str]:
        named = [identities_of(event.claims, self._region) for event in events]
        identities = {identity for one in named for identity in one}
        anonymous = {event.anonymous_id for event in events if event.anonymous_id}
        previous = {event.previous_id for event in events if event.type == "alias" and event.previous_id}
        evidence = [Identity(ANONYMOUS_ID, one) for one in sorted(anonymous | previous)]
        repository.lock(connection, _keys([*evidence, *identities]))
        state = State(
            Graph({}),
            repository.generations_of(connection, anonymous | previous),
            repository.holders_of(connection, identities),
            set(repository.shared_among(connection, identities)),
        )
        profiles = {event.user_id for event in events if event.user_id} | previous
        profiles |= {one.profile for all_ in state.generations.values() for one in all_}
        profiles |= {profile for held in state.holders.values() for profile in held}
        joining = bool(previous) or _may_join(events, named, state)
        if joining:
            repository.lock_joining(connection)
        state.graph = repository.graph_of(connection, profiles)
        if joining:
            state.undone = repository.undone_among(connection, [*evidence, *identities], previous)
            state.erased = repository.being_erased(connection, profiles) if previous else frozenset()
        next_revision = repository.revision_of(connection) + 1 if joining else 1
        before = _persons(state.graph)
        resolution = Resolution(state, self._rules, next_revision)
        found = [resolution.take(event, one) for event, one in zip(events, named, strict=True)]
        self._keep(connection, resolution.changes, events[0].received_at)
        if joining:
            _record_persons(connection, before, state.graph, resolution.next_choice)
            self._awaited = max(self._awaited, repository.revision_of(connection))
        return found

    def _keep(self, connection: Connection, changes: Changes, now: datetime) -> None:
        users_repository.add_users(connection, list(changes.profiles.items()))
        repository.record_chosen(connection, changes.chosen.values())
        repository.record_held(connection, changes.held.values())
        repository.record_joins(connection, changes.joins)
        facts = [_fact(JOINED, join.id, join, join.joined_at) for join in changes.joins]
        for join, why in changes.undone:
            repository.record_undone(connection, join.id, Undone(now, "", why))
            facts.append(
                _fact(UNDONE, f"{join.id}:undone", msgspec.structs.replace(join, by="", why=why), now)
            )
        for identity, reason in changes.shared.items():
            repository.record_shared(connection, identity, now, reason)
        for label, body, moment in changes.notes:
            facts.append(NewFact(Kind.IDENTITY, new_id(moment), label, body.into or None, moment, body))
        _append(connection, facts, now)


def _may_join(events: Sequence[Event], named: Sequence[Collection[Identity]], state: State) -> bool:
    """Whether events may join somebody, for which nobody else may join or take apart meanwhile."""
    claimed: set[Identity] = set()
    for event, identities in zip(events, named, strict=True):
        if event.user_id and event.anonymous_id:
            return True
        if any(identity in claimed or state.holders.get(identity) for identity in identities):
            return True
        claimed.update(identities)
    return False


def _check_merge(connection: Connection, graph: Graph, join: Join) -> None:
    profile, into = join.profile, join.into
    for one in (profile, into):
        if one not in graph.first_seen:
            raise _unknown(one)
    if erased := repository.being_erased(connection, [profile, into]):
        raise UserErased(f"{min(erased)!r} is being erased: nothing can be joined with it")
    if graph.leads(into, profile):
        raise MergeCycle(
            f"{into!r} was merged into {profile!r} before; undo that merge first, then merge the other way"
        )
    if graph.same(profile, into) and (graph.leads(profile, into) or graph.canonical(profile) == into):
        by = ", ".join(one.id for one in graph.path(profile, into))
        raise AlreadyOne(f"{profile!r} and {into!r} are one person already, by {by}")
    if users := graph.holds_back(join):
        raise BelongsToAnother(
            f"the anonymous profile belongs to {users[0]!r}: a device never joins two users; merge the "
            "users themselves, or undo the join with the device first"
        )


def _found(connection: Connection, join_id: str) -> Join:
    found = repository.join_of(connection, join_id)
    if found is None:
        raise UnknownMerge(f"there is no merge {join_id!r}; GET /v1/merges lists them")
    join, undone = found
    if undone is not None:
        raise AlreadyUndone(f"the merge {join_id!r} was undone at {undone.at.isoformat()} already")
    return join


def _unknown(profile: str) -> NextplayError:
    return UnknownUser(f"no event of a user {profile!r} was ever recorded; check the id")


def _keys(identities: Collection[Identity]) -> list[str]:
    return [f"{identity.kind}:{identity.value}" for identity in identities]


def _persons(graph: Graph) -> dict[str, tuple[str, frozenset[str]]]:
    canonicals = graph.canonicals()
    return {profile: (canonicals[profile], graph.person(profile)) for profile in canonicals}


def _record_persons(
    connection: Connection, before: Mapping[str, tuple[str, frozenset[str]]], graph: Graph, revision: int
) -> None:
    """Keep the persons that are others than before: who goes by another id, and one row of each of them."""
    changed = {}
    for profile, now in _persons(graph).items():
        then = before.get(profile, (profile, frozenset((profile,))))
        if then != now and (then[0] != now[0] or profile == now[0]):
            changed[profile] = now[0]
    repository.record_canonicals(connection, changed, revision)


def _fact(label: str, fact_id: str, join: Join, moment: datetime) -> NewFact:
    body = JoinBody(
        join.id, join.profile, join.into, join.cause, join.evidence, join.message_id, join.by, join.why
    )
    return NewFact(Kind.IDENTITY, fact_id, label, join.profile, moment, body)


def _change(label: str, join: Join, by: str, why: str, now: datetime) -> NewFact:
    # Who was joined is told by the fact of identity, which erasure finds; a change has no user.
    return NewFact(Kind.CHANGE, new_id(now), label, None, now, {"join": join.id, "by": by, "why": why})


def _append(connection: Connection, facts: Sequence[NewFact], now: datetime) -> None:
    if facts:
        ledger.append(connection, facts, now)
