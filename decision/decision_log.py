"""The log of decisions, one at a time: its record, played again, scored again."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import msgspec

from delivery.models import SuppressionFact
from learning import version_repository
from learning.explaining import Explanation, explain_recorded
from learning.rescoring import Rescored, rescore
from playbooks.decision import Decision
from playbooks.errors import DecisionDamaged, DecisionErased, DecisionPurged, UnknownDecision
from playbooks.fallbacks import replay_fallback
from playbooks.matching import replay
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.erasure import is_pseudonym
from storage.ids import time_of
from storage.ledger import Kind


class Replayed(msgspec.Struct, frozen=True):
    """What the record of a decision gives when it is decided again; `identical` to what it gave then."""

    identical: bool
    arm: str
    propensity: float
    draw: float


class DecisionLog(NamedTuple):
    """Reads decisions; `kept_days` is for how long they are kept, None: for ever."""

    database: Database
    clock: Clock
    kept_days: int | None = None

    def recorded(self, decision_id: str) -> Decision:
        """Return the record of a decision.

        Raises:
            UnknownDecision: there is none with this id.
            DecisionPurged: it is older than decisions are kept.
            DecisionErased: its user was erased.
            DecisionDamaged: somebody or something else wrote to the database.
        """
        with self.database.read() as connection:
            fact = ledger.get(connection, Kind.DECISION, decision_id)
        if fact is None:
            self._check_kept(decision_id)
            raise UnknownDecision(
                f"there is no decision {decision_id!r}; check the id, or that it is this database"
            )
        if fact.user_id is not None and is_pseudonym(fact.user_id):
            raise DecisionErased(
                f"the user of decision {decision_id!r} was erased: what it was made from is gone, so it can "
                "be neither shown nor replayed; evaluations go on counting it"
            )
        try:
            decision: Decision = fact.decode(Decision)
        except msgspec.DecodeError as error:
            raise DecisionDamaged(
                f"the record of decision {decision_id!r} is damaged in the database: {error}; restore its "
                "row of the table facts from a backup, nothing else can be made from it"
            ) from error
        return decision

    def replay(self, decision_id: str) -> Replayed:
        """Make vector and draw again from the record alone; of a fallback no policy version is read.

        Raises:
            PlaybooksError: there is no such record (see `recorded`).
            LearningError: the policy version's record is not there or damaged; its weights need not be.
        """
        decision = self.recorded(decision_id)
        if decision.fallback is not None:
            again = replay_fallback(decision)
        else:
            with self.database.read() as connection:
                version = version_repository.unweighted(connection, decision.policy)
            again = replay(decision, version.serve())
        return Replayed(again == decision, again.arm, again.propensity, again.draw)

    def rescore(self, decision_id: str) -> Rescored:
        """Run the model again on what was recorded (see `learning.rescoring`).

        Raises:
            PlaybooksError: there is no such record (see `recorded`).
            LearningError: why there is nothing to run.
        """
        return rescore(self.database, self.recorded(decision_id))

    def explain(self, decision_id: str) -> Explanation:
        """Return why it came out as it did (see `learning.explaining`).

        Raises:
            PlaybooksError: there is no such record (see `recorded`).
            LearningError: the policy version's record, or a playbook's, is not there.
        """
        decision = self.recorded(decision_id)
        with self.database.read() as connection:
            told = ledger.of_user(connection, decision.user_id, kinds=[Kind.SUPPRESSION])
        stopped: dict[str, list[str]] = {}
        for fact in reversed(told):
            body: SuppressionFact = fact.decode(SuppressionFact)
            if body.decision == decision_id:
                stopped.setdefault(fact.label, []).append(body.message)
        explained = explain_recorded(self.database, decision)
        return msgspec.structs.replace(explained, stopped_sends=stopped)

    def _check_kept(self, decision_id: str) -> None:
        made = time_of(decision_id)
        if self.kept_days is None or made is None:
            return
        if self.clock.now() - made > timedelta(days=self.kept_days):
            raise DecisionPurged(
                f"decision {decision_id!r} is of {made:%Y-%m-%d} and no longer there: decisions are kept for "
                f"{self.kept_days} days (NEXTPLAY_RETENTION)"
            )
