"""Shadow mode: what every other policy would have done in the decisions of the one in charge.

It is worked out from the records, by a job and not in the request: a record has all that a vector is made of,
so the answer is the same, and no user waits for models that do not serve. A policy is asked as the version it
had when the decision was made, which knows nothing of what came after: that makes differences of values fair
bets at all times.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec
import structlog

from learning import version_repository
from learning.challengers import repository
from learning.challengers.models import ShadowRound
from learning.errors import (
    BrokenWeights,
    FeaturesMismatch,
    InvalidScores,
    UnknownPlan,
    UnknownVersion,
    VersionGone,
)
from learning.plans import Plans
from learning.policy import LearnedPolicy
from learning.spec import PolicySpec
from playbooks.decision import Decision
from storage import ledger, readers
from storage.engine import Database
from storage.ledger import Fact, Kind
from storage.writer import TURN_ROWS

_log = structlog.get_logger(__name__)

# Policies kept at hand; each holds its weights.
_KEPT = 8


class Shadowing:
    """Computes the vectors of policies that are not in charge. One process at a time."""

    def __init__(self, database: Database, specs: Mapping[str, PolicySpec]) -> None:
        """`specs` are those of all policies of the library, by id."""
        self._database, self._specs = database, specs
        self._plans = Plans(database)
        self._decoder = msgspec.json.Decoder(Decision)
        self._serving: dict[str, LearnedPolicy | None] = {}
        self._published: dict[str, list[tuple[datetime, str]]] = {}

    def run(self) -> int:
        """Work out what is missing; return how many vectors were made.

        May be stopped anywhere and called again: a decision is taken once.
        """
        self._published.clear()
        page = max(TURN_ROWS // max(len(self._specs), 1) - 1, 1)
        made = 0
        while True:
            with self._database.read() as connection:
                after = readers.position_of(connection, repository.READER)
                if after == 0 and len(self._specs) < 2:
                    return 0
                found = ledger.read_after(connection, after, kind=Kind.DECISION, limit=page)
            if not found:
                return made
            rounds = [one for fact in found for one in self._rounds(fact)] if len(self._specs) > 1 else []
            last = found[-1].seq
            self._database.write(
                lambda c, after=after, last=last, rounds=rounds: repository.keep_rounds(  # type: ignore[misc]
                    c, after, last, rounds
                ),
                rows=len(rounds) + 1,
            )
            made += len(rounds)

    def _rounds(self, fact: Fact) -> Iterator[ShadowRound]:
        """Yield what the others would have done; nothing of decisions that tell nothing of policies."""
        try:
            decision: Decision = self._decoder.decode(fact.body)
        except msgspec.ValidationError:
            # Erasure leaves a tombstone in the place of the record.
            return
        drawer = decision.policy.partition("@")[0]
        if decision.fallback is not None or decision.holdout or decision.test or len(decision.arms) < 2:
            return
        if drawer not in self._specs:
            return
        try:
            arms = self._plans.eligible(decision)
        except UnknownPlan as error:
            _log.warning("decision is left out of shadow mode", decision=decision.decision_id, why=str(error))
            return
        for name, spec in self._specs.items():
            if name == drawer or decision.placement not in spec.placements:
                continue
            policy = self._at(name, decision.decided_at)
            if policy is None or not policy.reads <= decision.features.keys():
                continue
            try:
                vector = policy.vector_at(decision, arms)
            except (FeaturesMismatch, InvalidScores) as error:
                _log.warning("policy can't be shadowed", policy=policy.version, why=str(error))
                continue
            yield ShadowRound(
                policy=name,
                decision_id=decision.decision_id,
                user_id=decision.user_id,
                decided_at=decision.decided_at,
                drawer=drawer,
                version=policy.version,
                vector=vector.astype("<f8").tobytes(),
            )

    def _at(self, name: str, moment: datetime) -> LearnedPolicy | None:
        """Return a policy as it was at a moment; None before its first version, or if that is gone."""
        published = self._published.get(name)
        if published is None:
            with self._database.read() as connection:
                published = self._published[name] = repository.versions_since(connection, name)
        place = bisect_right([at for at, _ in published], moment)
        return None if place == 0 else self._served(published[place - 1][1])

    def _served(self, version: str) -> LearnedPolicy | None:
        if version not in self._serving:
            if len(self._serving) >= _KEPT:
                self._serving.clear()
            try:
                with self._database.read() as connection:
                    self._serving[version] = version_repository.version(connection, version).serve()
            except (BrokenWeights, UnknownVersion, VersionGone) as error:
                _log.warning("policy version can't be shadowed", version=version, why=str(error))
                self._serving[version] = None
        return self._serving[version]
