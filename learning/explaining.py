"""Why a decision came out as it did: every candidate with its score's parts, and what stopped the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from learning import version_repository
from learning.errors import BrokenWeights, VersionGone
from learning.plans import Plans, Reads
from learning.policy import LearnedPolicy
from playbooks.decision import Decision
from playbooks.models import DO_NOTHING, Arm


class Candidate(msgspec.Struct, frozen=True):
    """One eligible arm: value = score × weight − cost, from which exploration made `probability`.

    `score` is the expected reward, `deviation` how uncertain it is where that counts, `weight` the operator's
    lever, `cost` the expected cost in units of reward, of which `fatigue` is
    for contacts that the user had lately. `floor` is what exploration gives every arm at least.
    `parts` are what each column added to the score before it was cut to the bounds of rewards, the intercept
    under ""; null where the version's weights are kept no more.
    """

    arm: str
    score: float
    deviation: float | None
    weight: float
    cost: float
    fatigue: float
    value: float
    floor: float
    probability: float
    chosen: bool
    parts: Mapping[str, float] | None = None


class Explanation(msgspec.Struct, frozen=True):
    """The candidates by their probability, and playbooks or arms that were stopped, by the rule that did it.

    `stopped_sends` are messages of the decision that were stopped later, by rule. `prices` are shadow prices
    of binding budgets. `draw` in [0, 1) fell to the chosen arm. `note` says why scores have no parts, where
    they have none; of a fallback, which nobody scored, that the placement's was answered.
    """

    decision_id: str
    policy: str
    candidates: Sequence[Candidate]
    stopped: Mapping[str, Sequence[str]]
    holdout: Sequence[str]
    prices: Mapping[str, float]
    draw: float
    refused_by: str | None
    fallback: str | None
    note: str | None = None
    stopped_sends: Mapping[str, Sequence[str]] = {}


def explain(
    decision: Decision, policy: LearnedPolicy, arms: Sequence[Arm], note: str | None = None
) -> Explanation:
    """Return why a decision came out as it did.

    Args:
        policy: the version that decided.
        arms: those of the decision, in its order, without "do nothing"; none where the scores' parts can't be
            told.
        note: why they can't.
    """
    if decision.fallback is not None:
        return explain_fallback(decision)
    known = {arm.id: arm for arm in arms}
    scores, weights = [*decision.scores, 0.0], [*decision.weights, 1.0]
    costs = [*decision.costs, 0.0] if decision.costs else [0.0] * len(scores)
    deviations: Sequence[float | None] = (
        [*decision.deviations, 0.0] if decision.deviations else [None] * len(scores)
    )
    floor = policy.floor / len(decision.arms)
    candidates = [
        Candidate(
            arm=arm,
            score=scores[place],
            deviation=deviations[place],
            weight=weights[place],
            cost=costs[place],
            fatigue=decision.fatigue.get(arm, decision.fatigue.get(arm.partition("/")[0], 0.0)),
            value=scores[place] * weights[place] - costs[place],
            floor=floor,
            probability=decision.probabilities[place],
            chosen=place == decision.chosen,
            parts=policy.explain(decision.features, known[arm]) if arm in known else _no_parts(arm),
        )
        for place, arm in enumerate(decision.arms)
    ]
    return _explanation(decision, sorted(candidates, key=lambda one: -one.probability), note)


def explain_fallback(decision: Decision) -> Explanation:
    """Return why a decision came out as it did for which no policy was asked."""
    answered = Candidate(
        arm=decision.arm,
        score=0.0,
        deviation=None,
        weight=1.0,
        cost=0.0,
        fatigue=0.0,
        value=0.0,
        floor=0.0,
        probability=decision.propensity,
        chosen=True,
        parts=_no_parts(decision.arm),
    )
    note = f"no policy was asked ({decision.fallback}); this is the placement's fallback"
    return _explanation(decision, [answered], note)


def _explanation(decision: Decision, candidates: Sequence[Candidate], note: str | None) -> Explanation:
    return Explanation(
        decision_id=decision.decision_id,
        policy=decision.policy,
        candidates=candidates,
        stopped=decision.suppressed,
        holdout=list(decision.holdout),
        prices=decision.prices,
        draw=decision.draw,
        refused_by=decision.refused_by,
        fallback=decision.fallback,
        note=note,
    )


def explain_recorded(database: Reads, decision: Decision) -> Explanation:
    """Return why a decision of the log came out as it did; without parts once its version's weights are gone.

    Of a fallback no version is asked, as none was then.

    Raises:
        UnknownVersion: the version was let go.
        UnknownPlan: an arm of the decision was never published.
    """
    if decision.fallback is not None:
        return explain_fallback(decision)
    note = None
    with database.read() as connection:
        try:
            version = version_repository.version(connection, decision.policy)
        except (VersionGone, BrokenWeights) as error:
            version, note = version_repository.unweighted(connection, decision.policy), str(error)
    arms = [] if note else Plans(database).eligible(decision)
    return explain(decision, version.serve(), arms, note)


def _no_parts(arm: str) -> Mapping[str, float] | None:
    return {} if arm == DO_NOTHING else None
