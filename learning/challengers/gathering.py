"""Gathers evidence: shadow rounds, rewards and guards become one log, on which two policies are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection

from audiences.identity.people import People
from audiences.liveness.repository import silent_since
from learning import repository as rewards_repository
from learning.challengers import repository
from learning.challengers.drawn import log_of
from learning.challengers.estimates import Span
from learning.challengers.guards import Guarding
from learning.challengers.models import Charge, Evidence, Live, ShadowRound
from learning.challengers.rules import PromotionRules
from learning.errors import InvalidRounds, UnknownPlan
from learning.evaluation import Candidate, How, Log, evaluate
from learning.evaluation.verdict import Word, difference
from learning.plans import Plans
from learning.recalls import concerned, note_of, recalled_spans
from learning.rewards import Reward
from learning.spec import PolicySpec
from playbooks.decision import Decision
from playbooks.protection import Protection
from storage.engine import Database


class Gathered(NamedTuple):
    """The log of a policy in shadow, and why nothing may be concluded from it."""

    log: Log
    candidate: Candidate
    reasons: Sequence[str]


class Gathering:
    """Reads what is known of policies that are not in charge, against the one that is."""

    def __init__(
        self,
        database: Database,
        specs: Mapping[str, PolicySpec],
        rules: PromotionRules,
        protection: Protection,
        people: People,
    ) -> None:
        self._database, self._specs, self._rules = database, specs, rules
        self._plans = Plans(database)
        self._guarding = Guarding(rules.guards, protection, people, self._plans)

    def evidence(self, policy: str, charge: Charge, confidence: float, at: datetime) -> Evidence:
        """Return what a policy would add per decision to the one in charge, since both are what they are."""
        since = self._since(policy, charge)
        try:
            found = self._gather(policy, charge.policy, since, None)
        except InvalidRounds as error:
            return _nothing(policy, charge.policy, since, at, confidence, str(error))
        margins = self._rules.guards.margins
        how = How(["snips"], confidence=confidence, promote=True, learning=True, margins=margins)
        said = evaluate(found.log, found.candidate, how=how)
        proof, seen = said.promotion, said.diagnostics
        if proof is None:
            raise InvalidRounds("an evaluation that was asked for a promotion said nothing of it")
        reasons = [*proof.reasons, *found.reasons]
        least = self._rules.least_effective
        if seen.effective_sample_size < least:
            reasons.append(
                f"thin support: the decisions are worth {seen.effective_sample_size:.0f} rounds of "
                f"{policy}, and {least} are needed (least_effective)"
            )
        return Evidence(
            policy=policy,
            against=charge.policy,
            since=since,
            at=at,
            confidence=confidence,
            rounds=seen.rounds,
            users=seen.users or seen.rounds,
            effective_sample_size=seen.effective_sample_size,
            baseline=said.baseline_value.value,
            value=proof.value,
            low=proof.low,
            high=proof.high,
            guards=proof.guards,
            promote=not reasons,
            reasons=reasons,
            doubts=seen.doubts,
        )

    def live(
        self, promoted: str, former: str, since: datetime, until: datetime, promise: Evidence
    ) -> Live | None:
        """Return what a promoted policy added to the former one while it was in charge.

        Its own decisions say what it earned, and the former one's vectors over them what that would have.

        Returns:
            None if no decision tells.
        """
        try:
            found = self._gather(former, promoted, since, until)
        except InvalidRounds:
            return None
        said = evaluate(
            found.log, found.candidate, how=How(["snips"], confidence=promise.confidence, promote=True)
        )
        if said.promotion is None or promise.value is None or promise.low is None or promise.high is None:
            return None
        gain, low, high = -said.promotion.value, -said.promotion.high, -said.promotion.low
        # The two were estimated from different decisions: the promise held if they may be the same.
        _, off_low, off_high = difference((gain, low, high), (promise.value, promise.low, promise.high), 0.0)
        return Live(
            rounds=said.diagnostics.rounds,
            baseline=said.baseline_value.value - gain,
            value=gain,
            low=low,
            high=high,
            held=off_low <= 0 <= off_high,
        )

    def lift(
        self, policy: str, other: str, since: datetime, until: datetime, confidence: float
    ) -> Span | None:
        """Return what a policy added to another while it was in charge; None where nothing tells."""
        if other not in self._specs:
            return None
        try:
            found = self._gather(other, policy, since, until)
        except InvalidRounds:
            return None
        said = evaluate(found.log, found.candidate, how=How(["snips"], confidence=confidence))
        low, high = said.difference.interval
        if said.verdict.startswith(Word.NOT_EVALUABLE.value) or low is None or high is None:
            return None
        return Span(-said.difference.value, -high, -low)

    def matured(self, until: datetime) -> bool:
        """Whether the rewards of all decisions before a moment are known."""
        with self._database.read() as connection:
            _, end = rewards_repository.whole_span(connection, self._placements(), 0, None)
        return end is None or end >= until

    def _placements(self) -> Sequence[str]:
        return sorted({one for spec in self._specs.values() for one in spec.placements})

    def _since(self, policy: str, charge: Charge) -> datetime | None:
        """Return since when the two have been what they are: same specifications, same one in charge."""
        with self._database.read() as connection:
            moments = [
                repository.began(connection, name, self._specs[name].fingerprint)
                for name in (policy, charge.policy)
            ]
        return max((one for one in (*moments, charge.since) if one is not None), default=None)

    def _gather(self, policy: str, drawer: str, since: datetime | None, until: datetime | None) -> Gathered:
        with self._database.read() as connection:
            _, end = rewards_repository.whole_span(connection, self._placements(), 0, None)
            ends = [one for one in (end, until) if one is not None]
            rounds = repository.rounds(connection, policy, drawer, since, min(ends, default=None))
            ids = [one.decision_id for one in rounds]
            decisions = rewards_repository.decisions(connection, ids, with_recalled=True)
            rewards = rewards_repository.rewards_of(connection, ids)
            recalls = recalled_spans(connection)
            kept = [
                one
                for one in rounds
                if one.decision_id in rewards
                and one.decision_id in decisions
                and len(one.vector) == 8 * len(decisions[one.decision_id].arms)
            ]
            whole = [one for one in kept if not concerned(recalls, decisions[one.decision_id])]
            if not whole:
                raise InvalidRounds(
                    f"no decision of {drawer} has matured since {policy} watches; wait until windows close"
                )
            drawn = [decisions[one.decision_id] for one in whole]
            earned = [rewards[one.decision_id] for one in whole]
            found = self._log(policy, whole, drawn, earned)
            try:
                guarded = self._guarding.of(connection, drawn, earned, since)
                reasons = [*guarded.reasons, *self._silences(connection, drawn)]
            except UnknownPlan as error:
                raise InvalidRounds(str(error)) from error
        notes = (note_of(len(kept) - len(whole)),) if len(kept) > len(whole) else ()
        log = replace(
            found.log,
            guards=guarded.values,
            guard_bounds=guarded.bounds,
            guard_units=self._rules.guards.currencies,
            notes=notes,
        )
        return Gathered(log, found.candidate, reasons)

    def _log(
        self,
        policy: str,
        rounds: Sequence[ShadowRound],
        decisions: Sequence[Decision],
        rewards: Sequence[Reward],
    ) -> Gathered:
        log = log_of(self._specs[policy].reward, decisions, rewards)
        places = {arm: place for place, arm in enumerate(log.actions)}
        dist = np.zeros((len(log), len(log.actions)))
        for row, (one, decision) in enumerate(zip(rounds, decisions, strict=True)):
            dist[row, [places[arm] for arm in decision.arms]] = np.frombuffer(one.vector, dtype="<f8")
        return Gathered(log, Candidate(policy, log.at_actions(dist), dist), ())

    def _silences(self, connection: Connection, decisions: Sequence[Decision]) -> list[str]:
        """Return which feeds of outcomes are silent: what is missing would be taken for nothing earned."""
        silent = silent_since(connection)
        if not silent:
            return []
        plans = {(one.playbook, one.playbook_version) for one in decisions}
        events = {
            self._plans.goal(playbook, version).event
            for playbook, version in plans
            if playbook is not None and version is not None
        }
        return [
            f"the feed of {event!r} has been silent since {silent[event]:%Y-%m-%d %H:%M} UTC: outcomes may "
            "be missing"
            for event in sorted(events & silent.keys())
        ]


def _nothing(
    policy: str, against: str, since: datetime | None, at: datetime, confidence: float, why: str
) -> Evidence:
    return Evidence(
        policy=policy,
        against=against,
        since=since,
        at=at,
        confidence=confidence,
        rounds=0,
        users=0,
        effective_sample_size=0.0,
        baseline=None,
        value=None,
        low=None,
        high=None,
        guards=(),
        promote=False,
        reasons=(why,),
    )
