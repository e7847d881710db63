"""Matching: from a user's features to one drawn arm, as a pure function.

Whatever it uses is an argument, and whatever it used is in the record it returns, so a logged decision
can be replayed from the record alone (`replay`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from playbooks.constraints.circumstances import Circumstances
from playbooks.contest import Contest
from playbooks.controls.models import NONE, Controls
from playbooks.decision import Decision
from playbooks.draws import draw_of, pick
from playbooks.eligible import Eligible, eligible, recorded
from playbooks.errors import UnknownPlacement
from playbooks.exploring import budgets_of, losses, spent
from playbooks.fallbacks import Fallback, fallback_in, replay_fallback
from playbooks.guards import Limits, LoyalGuard, Stops, limits_of, stops_for
from playbooks.holdouts import holdout_of
from playbooks.library import Library
from playbooks.lineup import Side
from playbooks.models import DO_NOTHING
from playbooks.pacing import prices_for
from playbooks.policy import FloatArray, Policy
from playbooks.policy_checks import check_scores, check_vector
from playbooks.preselection import PRESELECTION_RULE, preselected
from playbooks.stakes import narrow, spread_of, stakes_for, stakes_of, worth

# Combinations of arms that are kept; with constraints on single arms there is no end of them.
_KEPT = 1_000


_UNKNOWN = Circumstances()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What decisions are made from; swapped as a whole when the library or the policy changes."""

    library: Library
    policy: Policy
    seed: str
    # The share of users who are held out from all promotional playbooks.
    holdout: float = 0.0
    # What operators have stopped.
    controls: Controls = NONE
    guards: Sequence[LoyalGuard] = ()
    # What a minor unit of a currency costs, in units of reward.
    costs: Mapping[str, float] = field(default_factory=dict)
    # By placement what is shown where no policy can be asked, as `playbook` or `playbook/variant`.
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    # Made of all that; whatever replaces some of it makes its own.
    _contests: dict[tuple[Side, ...], Contest] = field(default_factory=dict, init=False)
    _limits: dict[str, list[tuple[LoyalGuard, Limits]]] = field(default_factory=dict, init=False)
    _fallbacks: dict[str, Fallback | str] = field(default_factory=dict, init=False)

    def fallback(self, placement: str) -> Fallback | str | None:
        """Return what a placement shows where no policy can be asked, or why that can't be; None: nothing."""
        name = self.fallbacks.get(placement)
        if name is None:
            return None
        found = self._fallbacks.get(placement)
        if found is None:
            found = self._fallbacks[placement] = fallback_in(self.library, name, placement)
        return found

    def stops_for(self, placement: str, audiences: Set[str]) -> Stops | None:
        """Return by which guard an arm is not for a user in these audiences, None where no guard is."""
        if not self.guards:
            return None
        limits = self._limits.get(placement)
        if limits is None:
            served = [one for one in self.library.playbooks if one.document.placement == placement]
            limits = self._limits[placement] = [(one, limits_of(one, served)) for one in self.guards]
        return stops_for(audiences, limits)

    def eligible(
        self,
        user_id: str,
        placement: str,
        *,
        features: Mapping[str, Any],
        audiences: Set[str],
        circumstances: Circumstances,
        now: datetime,
    ) -> Eligible:
        """Return what competes for a user at a placement, and what stops the rest."""
        return eligible(
            self.library,
            user_id,
            placement,
            seed=self.seed,
            held_out=holdout_of(user_id, self.seed, self.holdout),
            controls=self.controls,
            stops=self.stops_for(placement, audiences),
            features=features,
            audiences=audiences,
            circumstances=circumstances,
            rates=self.costs,
            now=now,
        )

    def contest(self, sides: Sequence[Side]) -> Contest:
        """Return these arms as they compete, made once for each combination."""
        key = tuple(sides)
        contest = self._contests.get(key)
        if contest is None:
            if len(self._contests) >= _KEPT:
                self._contests.clear()
            contest = self._contests[key] = Contest(key, self.costs)
        return contest


class Request(msgspec.Struct, frozen=True):
    """Who asks for a decision, where, under which key; `test`: one of the house."""

    decision_id: str
    user_id: str
    placement: str
    request_key: str
    test: bool = False


def decide(
    snapshot: Snapshot,
    request: Request,
    *,
    features: Mapping[str, Any],
    audiences: Set[str],
    circumstances: Circumstances = _UNKNOWN,
    now: datetime,
) -> Decision:
    """Choose one arm for a user: eligible → constrained → scored → weighed → explored → drawn.

    Args:
        features: the user's feature values by name; those the policy reads are recorded.
        audiences: names of the audiences the user is in.
        circumstances: what constraints ask for beside (see `Library.needs`).

    Raises:
        UnknownPlacement: no playbook of the library serves the placement.
        PolicyBroken: the policy's scores are not finite or its vector is not a probability vector.
    """
    check_placement(snapshot.library, request.placement)
    found = snapshot.eligible(
        request.user_id,
        request.placement,
        features=features,
        audiences=audiences,
        circumstances=circumstances,
        now=now,
    )
    contest = snapshot.contest(found.sides)
    read = {name: recorded(features.get(name)) for name in sorted(snapshot.policy.inputs)}
    scores = snapshot.policy.score(read, contest.arms)
    check_scores(snapshot.policy, scores, len(contest.arms))
    deviations = snapshot.policy.deviations(read, contest.arms)
    if deviations is not None:
        check_scores(snapshot.policy, deviations, len(contest.arms))
    prices, costs = None, with_fatigue(contest, found.fatigue)
    if snapshot.costs:
        rules = snapshot.library.rules
        prices = prices_for(contest.arms, contest.owners, rules, snapshot.costs, circumstances, now)
        if prices is not None:
            costs = prices.costs if costs is None else costs + prices.costs
    values = worth(scores, contest.weights, costs)
    places = preselected(contest, values, snapshot.seed, request.user_id)
    if places is not None:
        left = contest.only(places.tolist())
        found.suppressed[PRESELECTION_RULE] = sorted({*contest.ids} - {*left.ids})
        contest, scores = left, scores[places]
        deviations = None if deviations is None else deviations[places]
        costs = None if costs is None else costs[places]
        values = worth(scores, contest.weights, costs)
    asked = snapshot.seed, request.user_id, request.placement, request.request_key
    stakes = stakes_for(contest.ids, values, spread_of(deviations, contest.weights), asked)
    probabilities = snapshot.policy.explore(stakes)
    check_vector(snapshot.policy, probabilities, len(contest.ids))
    budgets = budgets_of(contest.exploring, snapshot.costs, circumstances.levels, now)
    explored, narrowed = losses(stakes.values, probabilities, contest.names, budgets), list[str]()
    if out := spent(explored, budgets):
        narrowed = out
        probabilities = snapshot.policy.explore(narrow(stakes, out))
        check_vector(snapshot.policy, probabilities, len(contest.ids))
        explored = losses(stakes.values, probabilities, contest.names, budgets)
    draw, vector = draw_of(*asked), probabilities.tolist()
    chosen = pick(vector, draw)
    owner = contest.owners[chosen] if chosen < len(contest.owners) else None
    return Decision(
        decision_id=request.decision_id,
        user_id=request.user_id,
        placement=request.placement,
        decided_at=now,
        request_key=request.request_key,
        seed=snapshot.seed,
        library=snapshot.library.version,
        policy=snapshot.policy.version,
        features=read | found.features,
        audiences=sorted(audiences),
        uses=found.uses,
        suppressed=found.suppressed,
        holdout=tuple(found.holdouts),
        arms=contest.ids,
        scores=scores.tolist(),
        deviations=() if deviations is None else deviations.tolist(),
        levers=contest.levers,
        costs=() if costs is None else costs.tolist(),
        fatigue=told_fatigue(contest, found.fatigue),
        prices={} if prices is None else prices.by_rule,
        explored=explored,
        narrowed=narrowed,
        probabilities=vector,
        draw=draw,
        chosen=chosen,
        propensity=vector[chosen],
        playbook=owner.id if owner else None,
        playbook_version=owner.version if owner else None,
        test=request.test,
        pilots=contest.pilots,
        constraints=snapshot.library.rules.version,
        circumstances=found.recorded,
    )


def fall_back(snapshot: Snapshot, request: Request, now: datetime, reason: str) -> Decision:
    """Return the decision for the placement's fallback because no policy can be asked, and why.

    It is to do nothing where the placement has none, or an operator has stopped it, its content is over, or
    the user is held out from its playbook.

    Raises:
        UnknownPlacement: no playbook of the library serves the placement.
    """
    check_placement(snapshot.library, request.placement)
    found = snapshot.fallback(request.placement)
    shown = found if isinstance(found, Fallback) else None
    stopped = held_out = None
    if shown is not None:
        stopped = shown.stopped_by(request.user_id, snapshot.controls, now)
        if stopped is None and request.user_id:
            of = holdout_of(request.user_id, snapshot.seed, snapshot.holdout)
            stopped = held_out = of(shown.playbook.document)
    suppressed = {} if shown is None or stopped is None else {stopped: [shown.playbook.id]}
    if stopped is not None:
        shown = None
    return Decision(
        decision_id=request.decision_id,
        user_id=request.user_id,
        placement=request.placement,
        decided_at=now,
        request_key=request.request_key,
        seed=snapshot.seed,
        library=snapshot.library.version,
        policy=snapshot.policy.version,
        features={},
        audiences=(),
        uses={},
        suppressed=suppressed,
        holdout=() if held_out is None else (held_out,),
        arms=[DO_NOTHING if shown is None else shown.arm.id],
        scores=[],
        probabilities=[1.0],
        draw=draw_of(snapshot.seed, request.user_id, request.placement, request.request_key),
        chosen=0,
        propensity=1.0,
        playbook=None if shown is None else shown.playbook.id,
        playbook_version=None if shown is None else shown.playbook.version,
        fallback=reason,
        test=request.test,
    )


def replay(decision: Decision, policy: Policy) -> Decision:
    """Recompute vector, draw and choice of a decision from what it recorded, and return the outcome.

    `policy` is the version named in the record; of it only the exploration is used, the scores are the
    recorded ones; of a fallback, for which none was asked, nothing is. The result equals `decision` unless
    something in the record was changed.
    """
    if decision.fallback is not None:
        return replay_fallback(decision)
    # Where nothing was eligible there was nothing to be uncertain of either.
    told = decision.deviations or not decision.scores
    deviations = np.array(decision.deviations, dtype=np.float64) if told else None
    vector = policy.explore(stakes_of(decision, np.array(decision.scores), deviations)).tolist()
    draw = draw_of(decision.seed, decision.user_id, decision.placement, decision.request_key)
    chosen = pick(vector, draw)
    return msgspec.structs.replace(
        decision,
        probabilities=vector,
        draw=draw,
        chosen=chosen,
        propensity=vector[chosen],
    )


def check_placement(library: Library, placement: str) -> None:
    """Make sure that a placement may be asked about.

    Raises:
        UnknownPlacement: no playbook of the library serves it.
    """
    # Where all is paused there is nothing to give, which is an answer.
    if placement not in library.placements:
        raise UnknownPlacement(
            f"no playbook serves the placement {placement!r}; the library's placements are "
            f"{', '.join(library.placements) or 'none'}"
        )


def with_fatigue(contest: Contest, fatigue: Mapping[str, float]) -> FloatArray | None:
    """Return what each arm costs, with what contacts so far take from it; None where none costs anything."""
    if not fatigue:
        return contest.costs
    taken = np.array([fatigue.get(arm.id, 0.0) for arm in contest.arms], dtype=np.float64)
    return taken if contest.costs is None else contest.costs + taken


def told_fatigue(contest: Contest, fatigue: Mapping[str, float]) -> dict[str, float]:
    """Return fatigue as the record keeps it: by playbook, or by arm where a playbook's differ."""
    of_playbooks: dict[str, dict[str, float]] = {}
    for arm in contest.arms if fatigue else ():
        of_playbooks.setdefault(arm.playbook, {})[arm.id] = fatigue.get(arm.id, 0.0)
    told: dict[str, float] = {}
    for playbook, arms in of_playbooks.items():
        one = next(iter(arms.values()))
        told |= {playbook: one} if set(arms.values()) == {one} else arms
    return {name: taken for name, taken in told.items() if taken}
