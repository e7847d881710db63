"""Matching for many users at once: of each the decision that `matching.decide` makes of them alone; pure.

Users whom nothing tells apart are asked about once, those with the same arms are scored as one matrix, and
their vectors are made together. What is left for each user is the draw and the record.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from playbooks.alike import Case, Known, Setting
from playbooks.constraints.allowing import counted_uses
from playbooks.contest import Contest
from playbooks.decision import Decision
from playbooks.draws import draw_of, pick
from playbooks.eligible import Eligible
from playbooks.exploring import budgets_of
from playbooks.matching import (
    Request,
    Snapshot,
    check_placement,
    decide,
    told_fatigue,
    with_fatigue,
)
from playbooks.pacing import Prices, prices_for
from playbooks.policy import FloatArray, PolicyForMany, StakesOfMany
from playbooks.policy_checks import check_scores_of_many, check_vectors
from playbooks.preselection import takes_all
from playbooks.reading_many import Read, read_many
from playbooks.rehearsal.crowd import audiences_of

# Settings that are kept.
_KEPT = 1_000


class Asked(NamedTuple):
    """A request, and what is known of its user."""

    request: Request
    case: Case


class _Found(NamedTuple):
    """What competes for users who are alike, and what it costs there; `uses` by how much they used."""

    eligible: Eligible
    contest: Contest
    prices: Prices | None
    costs: FloatArray | None
    fatigue: Mapping[str, float]
    uses: dict[Hashable, Mapping[str, int]]

    def asked_of(self, told: dict[str, Any]) -> dict[str, Any]:
        """Return of what constraints could ask of one of them that which they asked."""
        asked = self.eligible.features
        return told if len(told) == len(asked) else {name: told[name] for name in asked}

    def uses_of(self, known: Known, case: Case, now: datetime) -> Mapping[str, int]:
        """Return what counts of one of them, as their record keeps it."""
        found = self.uses.get(known.counts)
        if found is None:
            if len(self.uses) >= _KEPT:
                self.uses.clear()
            found = self.uses[known.counts] = counted_uses(self.eligible.terms, case.circumstances, now)
        return found


class _Row(NamedTuple):
    """A user among those with the same arms: their place in the block, and what those alike to them found.

    `uses` is what counts of them, `told` the features that constraints asked for, as their record keeps them.
    """

    place: int
    found: _Found
    uses: Mapping[str, int]
    told: dict[str, Any]


class WorkedOut:
    """What blocks worked out for a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        policy = snapshot.policy
        # Looking for all of a protocol's methods takes as long as some of them do.
        self.policy = policy if isinstance(policy, PolicyForMany) else None
        self.inputs = sorted(policy.inputs)
        self._heeded: dict[str, frozenset[str]] = {}
        self._settings: dict[tuple[str, frozenset[str]], Setting] = {}
        self._alike: dict[tuple[str, frozenset[str]], dict[Hashable, _Found]] = {}

    def heeded_at(self, placement: str) -> frozenset[str]:
        """Return the audiences that matching looks at for a placement's playbooks."""
        heeded = self._heeded.get(placement)
        if heeded is None:
            library = self.snapshot.library
            here = tuple([one for one in library.playbooks if one.document.placement == placement])
            served = replace(self.snapshot, library=replace(library, playbooks=here))
            heeded = self._heeded[placement] = frozenset(audiences_of(served))
        return heeded

    def setting(self, placement: str, audiences: frozenset[str]) -> Setting:
        """Return what serves a placement for members of those of its audiences that are heeded."""
        setting = self._settings.get((placement, audiences))
        if setting is None:
            library = self.snapshot.library
            playbooks = library.at(placement, audiences)
            terms = [library.rules.terms(one) for one in playbooks]
            setting = Setting(playbooks, terms, self.snapshot.seed, self.snapshot.holdout)
            if len(self._settings) >= _KEPT:
                self._settings.clear()
            self._settings[placement, audiences] = setting
        return setting

    def alike(self, placement: str, audiences: frozenset[str]) -> dict[Hashable, _Found]:
        """Return what was found for users by what they are known by, where that holds at any moment."""
        found = self._alike.setdefault((placement, audiences), {})
        if len(self._alike) > _KEPT or len(found) >= _KEPT:
            self._alike.clear()
            found = self._alike[placement, audiences] = {}
        return found


class Block:
    """Decides for many users at one placement and moment."""

    def __init__(
        self, snapshot: Snapshot, placement: str, now: datetime, worked_out: WorkedOut | None = None
    ) -> None:
        """Decide from a snapshot.

        Args:
            worked_out: what earlier blocks worked out for the same snapshot, which this one adds to.

        Raises:
            UnknownPlacement: no playbook of the library serves the placement.
        """
        check_placement(snapshot.library, placement)
        self._snapshot, self._placement, self._now = snapshot, placement, now
        self._worked_out = WorkedOut(snapshot) if worked_out is None else worked_out

    def decide(self, asked: Sequence[Asked]) -> list[Decision | Exception]:
        """Return the decision about each user, or why there is none (see `matching.decide`).

        Of all users the same must be taken of budgets.
        """
        policy = self._worked_out.policy
        if policy is None:
            return [self._alone(one) for one in asked]
        try:
            read = read_many([one.case.features for one in asked], self._worked_out.inputs)
            contests = self._contests(asked)
        except Exception:  # noqa: BLE001 - whosever value it is that nobody can read, the others are decided for
            return [self._alone(one) for one in asked]
        found: list[Decision | Exception] = [_UNDECIDED] * len(asked)
        for contest, rows in contests:
            for row, decision in zip(rows, self._made(policy, contest, rows, asked, read), strict=True):
                found[row.place] = decision
        return found

    def _made(
        self,
        policy: PolicyForMany,
        contest: Contest,
        rows: Sequence[_Row],
        asked: Sequence[Asked],
        read: Read,
    ) -> Sequence[Decision | Exception]:
        try:
            made = self._together(policy, contest, rows, asked, read)
        except Exception:  # noqa: BLE001 - whatever a policy does, whose fault it is shows when each is alone
            made = None
        return [self._alone(asked[row.place]) for row in rows] if made is None else made

    def _alone(self, one: Asked) -> Decision | Exception:
        case = one.case
        try:
            return decide(
                self._snapshot,
                one.request,
                features=case.features,
                audiences=case.audiences,
                circumstances=case.circumstances,
                now=self._now,
            )
        except Exception as error:  # noqa: BLE001 - whatever a policy does, others are decided for
            return error

    def _contests(self, asked: Sequence[Asked]) -> list[tuple[Contest, list[_Row]]]:
        """Return contests, and who takes part in each, in their order."""
        heeded = self._worked_out.heeded_at(self._placement)
        of_audiences: dict[frozenset[str], list[int]] = {}
        for place, one in enumerate(asked):
            of_audiences.setdefault(heeded & one.case.audiences, []).append(place)
        found: dict[int, tuple[Contest, list[_Row]]] = {}
        for audiences, places in of_audiences.items():
            setting = self._worked_out.setting(self._placement, audiences)
            cases = [asked[place].case for place in places]
            read = read_many([one.features for one in cases], setting.names)
            keys = setting.keys(cases, read.recorded, self._placement, self._snapshot.controls, self._now)
            alike: dict[Hashable, _Found] = {}
            if setting.timeless and not any(one.circumstances.levels for one in cases):
                alike = self._worked_out.alike(self._placement, audiences)
            for place, case, known, told in zip(places, cases, keys, read.of_each(), strict=True):
                own = alike.get(known.key)
                if own is None:
                    own = alike[known.key] = self._found(case, known)
                row = _Row(place, own, own.uses_of(known, case, self._now), own.asked_of(told))
                found.setdefault(id(own.contest), (own.contest, []))[1].append(row)
        return list(found.values())

    def _found(self, case: Case, known: Known) -> _Found:
        """Return what competes for whoever is like this user."""
        snapshot, circumstances = self._snapshot, case.circumstances
        found = snapshot.eligible(
            case.user_id,
            self._placement,
            features=case.features,
            audiences=case.audiences,
            circumstances=circumstances,
            now=self._now,
        )
        contest = snapshot.contest(found.sides)
        prices, costs = None, with_fatigue(contest, found.fatigue)
        if snapshot.costs:
            rules = snapshot.library.rules
            prices = prices_for(contest.arms, contest.owners, rules, snapshot.costs, circumstances, self._now)
            if prices is not None:
                costs = prices.costs if costs is None else costs + prices.costs
        fatigue = told_fatigue(contest, found.fatigue)
        return _Found(found, contest, prices, costs, fatigue, {known.counts: found.uses})

    def _together(
        self,
        policy: PolicyForMany,
        contest: Contest,
        rows: Sequence[_Row],
        asked: Sequence[Asked],
        read: Read,
    ) -> list[Decision] | None:
        """Return decisions about users with the same arms; None where each has to be asked alone.

        Raises:
            Exception: whatever the policy raises, for one of them or all.
        """
        if not takes_all(contest) or self._explores_within_budgets(contest):
            return None
        users, whose = len(rows), [asked[row.place] for row in rows]
        own = read.of([row.place for row in rows])
        scores = policy.score_many(own, users, contest.arms)
        check_scores_of_many(policy, scores, users, len(contest.arms))
        deviations = policy.deviations_many(own, users, contest.arms)
        if deviations is not None:
            check_scores_of_many(policy, deviations, users, len(contest.arms))
        requests = [(self._snapshot.seed, one.user_id, self._placement, one.request_key) for one, _ in whose]
        stakes = _stakes_of_many(contest, rows, scores, deviations, requests)
        probabilities = policy.explore_many(stakes)
        check_vectors(policy, probabilities, users, len(contest.ids))
        draws = [draw_of(*request) for request in requests]
        told = zip(
            scores.tolist(),
            [()] * users if deviations is None else deviations.tolist(),
            probabilities.tolist(),
            draws,
            strict=True,
        )
        features = read.of_each()
        return [
            self._decision(row, one, features[row.place], *numbers)
            for row, one, numbers in zip(rows, whose, told, strict=True)
        ]

    def _decision(
        self,
        row: _Row,
        asked: Asked,
        read: dict[str, Any],
        scores: Sequence[float],
        deviations: Sequence[float],
        probabilities: Sequence[float],
        draw: float,
    ) -> Decision:
        snapshot, (request, case) = self._snapshot, asked
        found, contest, prices, costs, fatigue, _ = row.found
        chosen = pick(probabilities, draw)
        owner = contest.owners[chosen] if chosen < len(contest.owners) else None
        return Decision(
            decision_id=request.decision_id,
            user_id=request.user_id,
            placement=request.placement,
            decided_at=self._now,
            request_key=request.request_key,
            seed=snapshot.seed,
            library=snapshot.library.version,
            policy=snapshot.policy.version,
            features=read | row.told,
            audiences=sorted(case.audiences),
            uses=row.uses,
            suppressed=found.suppressed,
            holdout=tuple(found.holdouts),
            arms=contest.ids,
            scores=scores,
            deviations=deviations,
            levers=contest.levers,
            costs=() if costs is None else costs.tolist(),
            fatigue=fatigue,
            prices={} if prices is None else prices.by_rule,
            probabilities=probabilities,
            draw=draw,
            chosen=chosen,
            propensity=probabilities[chosen],
            playbook=owner.id if owner else None,
            playbook_version=owner.version if owner else None,
            test=request.test,
            pilots=contest.pilots,
            constraints=snapshot.library.rules.version,
            circumstances=found.recorded,
        )

    def _explores_within_budgets(self, contest: Contest) -> bool:
        """Whether what one explores is minded by the next, so that they are decided one after the other."""
        return bool(budgets_of(contest.exploring, self._snapshot.costs, {}, self._now))


def _stakes_of_many(
    contest: Contest,
    rows: Sequence[_Row],
    scores: FloatArray,
    deviations: FloatArray | None,
    requests: Sequence[tuple[str, str, str, str]],
) -> StakesOfMany:
    """Return what exploration starts from, "do nothing" last (see `stakes.stakes_for`)."""
    values = np.zeros((len(rows), len(contest.ids)))
    np.multiply(scores, contest.weights, out=values[:, :-1])
    if any(row.found.costs is not None for row in rows):
        nothing = np.zeros(len(contest.arms))
        values[:, :-1] -= np.array([nothing if row.found.costs is None else row.found.costs for row in rows])
    spread = None
    if deviations is not None:
        spread = np.zeros_like(values)
        np.multiply(deviations, contest.weights, out=spread[:, :-1])
    return StakesOfMany(contest.ids, values, spread, requests)


# Stands where a decision will.
_UNDECIDED = RuntimeError("not decided yet")
