"""Deciding for the jobs: anew in the middle of a run, or because a trigger fired."""

from __future__ import annotations

from collections.abc import Callable, Set
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from audiences.features import FeatureReader
from audiences.identity.people import People
from audiences.rules import Schema
from audiences.selection.memberships import Memberships
from decision.in_flight import InFlight
from decision.surroundings import Surroundings
from decision.together import Together
from delivery.causes import Drawn
from delivery.errors import UnknownVersion
from delivery.models import Enrolment
from learning import version_repository
from learning.errors import BrokenWeights
from learning.policy import LearnedPolicy
from playbooks.controls.repository import in_force
from playbooks.counters import Counters
from playbooks.decision import Decision
from playbooks.eligible import needs_at
from playbooks.library import Library
from playbooks.library.house_rules import CurrentRules
from playbooks.library.repository import version_body
from playbooks.library.serving import PublishedPlaybook
from playbooks.matching import Request, Snapshot, decide
from playbooks.shaping import CurrentShaping
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.ids import new_id
from storage.ledger import Kind, NewFact


class DeciderAgain:
    """Implements `delivery.deciding.DecideAgain`.

    The decision is a record like any other: it can be replayed, gets its reward and is learnt from. What it
    uses of limits is reserved by the gate before what was drawn is sent.
    """

    def __init__(
        self,
        features: FeatureReader,
        memberships: Memberships,
        surroundings: Surroundings,
        people: People,
        *,
        policy: Callable[[Connection], str],
        inputs: frozenset[str],
        schema: Schema,
        seed: str,
        holdout: float,
        insiders: Set[str] = frozenset(),
    ) -> None:
        """Wire it.

        Args:
            policy: returns the id of the policy in charge, of which the newest version is asked.
            inputs: features that decisions record for policies which do not decide.
            schema: what the rules of constraints may speak of.
            seed: of all draws.
            holdout: the share of users whom no promotional playbook serves.
            insiders: users of whose decisions nothing is learned or reported.
        """
        self._insiders = insiders
        self._shaping = CurrentShaping()
        self._features, self._memberships, self._people = features, memberships, people
        self._surroundings = surroundings
        self._policy_id, self._inputs = policy, inputs
        self._seed, self._holdout = seed, holdout
        self._policy: LearnedPolicy | None = None
        self._rules = CurrentRules(schema)
        self._playbooks: dict[tuple[str, int], PublishedPlaybook] = {}

    def __call__(self, connection: Connection, enrolment: Enrolment, key: str, at: datetime) -> Drawn:
        playbook = self._playbook(connection, enrolment)
        library = Library((playbook,), rules=self._rules.of(connection))
        decision = self._decide(connection, library, playbook.document.placement, enrolment.user_id, key, at)
        fact = NewFact(
            Kind.DECISION, decision.decision_id, decision.placement, decision.user_id, at, decision
        )
        ledger.append(connection, [fact], at)
        version_repository.mark_used(connection, decision.policy)
        return Drawn(decision.decision_id, playbook.arm(decision.arm) if decision.acts else None)

    def snapshot(self, connection: Connection, library: Library) -> Snapshot:
        """Return what decides now among the playbooks of a library; loads who is in which audience too."""
        self._memberships.load(connection)
        shaping = self._shaping.of(connection)
        return Snapshot(
            library,
            self._in_charge(connection),
            self._seed,
            self._holdout,
            in_force(connection),
            shaping.guards,
            shaping.costs,
        )

    def together(self, database: Database, clock: Clock, counters: Counters) -> Together:
        """Return what decides for many users at once, as this does for one."""
        return Together(
            database,
            clock,
            self._features,
            self._memberships.of,
            self._people,
            self._insiders,
            self._surroundings,
            InFlight(),
            counters,
            None,
            at_once=False,
        )

    def _decide(
        self, connection: Connection, library: Library, placement: str, user_id: str, key: str, at: datetime
    ) -> Decision:
        """Return a decision among the playbooks of a library; nothing is written.

        Args:
            key: of the request: the same key draws the same.
        """
        snapshot = self.snapshot(connection, library)
        user = self._people.canonical(user_id)
        audiences, features = self._memberships.of(user), self._features.read(user).values
        needs = needs_at(library, placement, audiences, at)
        test = not self._insiders.isdisjoint(self._people.members(user))
        if test:
            needs = msgspec.structs.replace(needs, account=False)
        return decide(
            snapshot,
            Request(new_id(at), user, placement, key, test),
            features=features,
            audiences=audiences,
            circumstances=self._surroundings.of(user, needs, features, at),
            now=at,
        )

    def _playbook(self, connection: Connection, enrolment: Enrolment) -> PublishedPlaybook:
        version = enrolment.playbook, enrolment.playbook_version
        if version not in self._playbooks:
            body = version_body(connection, *version)
            if body is None:
                raise UnknownVersion(f"the library has no version {version[1]} of {version[0]!r}")
            self._playbooks[version] = body.published(version[1])
        return self._playbooks[version]

    def _in_charge(self, connection: Connection) -> LearnedPolicy:
        """Return the newest version that is whole, as whoever answers requests serves it."""
        policy = self._policy_id(connection)
        for name in version_repository.newest_names(connection, policy):
            if self._policy is not None and self._policy.version == name:
                return self._policy
            try:
                self._policy = version_repository.version(connection, name).serve(self._inputs)
            except BrokenWeights:
                continue
            return self._policy
        raise NextplayError(f"no version of the policy {policy!r} was published yet")
