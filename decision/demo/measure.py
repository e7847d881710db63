"""What the demo's year was worth, counted from the ledger and set against the known truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.demo.data import DECISION_WEEKS, LAST_QUARTER, CompleteJourney, start_of_week
from learning import version_repository
from learning.evaluation import Evaluation
from learning.exploration_kinds import Decay, EpsilonGreedy
from learning.plans import Plans
from learning.rounds import evaluate_decisions
from learning.versions import PolicyVersion
from playbooks.decision import Decision
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind

# The candidate is the version in charge at this week, frozen, and exploring ten times as much.
CANDIDATE_WEEK = LAST_QUARTER[0]
CANDIDATE_EPSILON = 0.2


@dataclass(frozen=True)
class Truth:
    """Which decisions earned what, by what the household really bought.

    `used` by week, shape (households,): 1 where the granted offer was used, 0 otherwise, also for those who
    got none. `chosen` and `relevant` count decisions and used offers by category.
    """

    used: Mapping[int, NDArray[np.float64]]
    chosen: Mapping[str, int]
    relevant: Mapping[str, int]

    def value(self, weeks: Sequence[int]) -> float:
        """Return the mean true reward over all households at these weeks."""
        return float(np.concatenate([self.used[week] for week in weeks]).mean())


def read_truth(database: Database, journey: CompleteJourney) -> Truth:
    """Set every decision of the ledger against the household's purchases."""
    week_of = {start_of_week(week): week for week in DECISION_WEEKS}
    household_at = {str(household): index for index, household in enumerate(journey.households)}
    category_at = {category: index for index, category in enumerate(journey.categories)}
    plans = Plans(database)
    truths = {week: journey.truth(week) for week in DECISION_WEEKS}
    used = {week: np.zeros(len(journey.households)) for week in DECISION_WEEKS}
    chosen = dict.fromkeys(journey.categories, 0)
    relevant = dict.fromkeys(journey.categories, 0)
    for decision in decisions(database):
        week = week_of.get(decision.decided_at)
        if week is None or not decision.acts:
            continue
        category = plans.chosen(decision).attributes["category"]
        hit = bool(truths[week][household_at[decision.user_id], category_at[category]])
        used[week][household_at[decision.user_id]] = hit
        chosen[category] += 1
        relevant[category] += hit
    return Truth(used, chosen, relevant)


@dataclass(frozen=True)
class Judged:
    """An off-policy estimate of a candidate beside what it estimates."""

    candidate: str
    evaluation: Evaluation
    truth: float


def judge_candidate(database: Database, journey: CompleteJourney) -> Judged:
    """Estimate the frozen candidate on the decisions of the last quarter, and say what it is really worth."""
    candidate = _candidate(database)
    truth = _true_value(database, journey, candidate)
    return Judged(candidate.version, evaluate_decisions(database, candidate), truth)


def decisions(database: Database) -> Iterator[Decision]:
    """Yield every decision in the order of the ledger."""
    position = 0
    while True:
        with database.read() as connection:
            page = ledger.read_after(connection, position, kind=Kind.DECISION)
        if not page:
            return
        for fact in page:
            yield fact.decode(Decision)
        position = page[-1].seq


def _candidate(database: Database) -> PolicyVersion:
    """Return the version that decided in the candidate week, exploring more.

    It has learnt from all decisions before that week, and from none that it is judged on.
    """
    week = start_of_week(CANDIDATE_WEEK)
    name = next(one.policy for one in decisions(database) if one.decided_at >= week)
    with database.read() as connection:
        version = version_repository.version(connection, name)
    spec = version.specification()
    decay = Decay(start=CANDIDATE_EPSILON, floor=CANDIDATE_EPSILON, half_life=1)
    exploring = spec.model_copy(update={"exploration": EpsilonGreedy(kind="epsilon_greedy", epsilon=decay)})
    return msgspec.structs.replace(
        version,
        version=f"{version.version} exploring {CANDIDATE_EPSILON:.0%}",
        spec=exploring.model_dump_json(by_alias=True).encode(),
    )


def _true_value(database: Database, journey: CompleteJourney, candidate: PolicyVersion) -> float:
    """Return the mean true reward of the candidate's own vector on the decisions it is judged on."""
    policy = candidate.serve()
    plans = Plans(database)
    week_of = {start_of_week(week): week for week in LAST_QUARTER}
    household_at = {str(household): index for index, household in enumerate(journey.households)}
    category_at = {category: index for index, category in enumerate(journey.categories)}
    truths = {week: journey.truth(week) for week in LAST_QUARTER}
    values = []
    for decision in decisions(database):
        week = week_of.get(decision.decided_at)
        if week is None or decision.fallback is not None:
            continue
        arms = plans.eligible(decision)
        vector = policy.vector_at(decision, arms)[:-1]
        places = [category_at[arm.attributes["category"]] for arm in arms]
        values.append(float(vector @ truths[week][household_at[decision.user_id], places]))
    return float(np.mean(values))


def summarise(
    counted: Mapping[str, Any], journey: CompleteJourney, truth: Truth, judged: Judged, seconds: float
) -> dict[str, Any]:
    """Return the summary of a run; `counted` is the service's own count of its ledger."""
    baselines = journey.baselines(LAST_QUARTER)
    estimate, found = judged.evaluation.estimates["dr"], judged.evaluation.diagnostics
    return {
        "households": counted["users"],
        "events": sum(counted["events"].values()),
        "transaction_lines": journey.line_count,
        "audiences": counted["audiences"],
        "tags": counted["tags"],
        "decisions": counted["decisions"],
        "suppressed": counted["suppressed"],
        "fallbacks": counted["fallbacks"],
        "enrolments": counted["enrolments"],
        "messages": counted["messages"],
        "offers": counted["offers"],
        "rewards": counted["rewards"],
        "value": {
            "policy_last_quarter": truth.value(LAST_QUARTER),
            "uniform": baselines.uniform,
            "best_constant": baselines.best_constant,
            "frequent_category": baselines.frequent_category,
            "oracle": baselines.oracle,
        },
        "ope": {
            "estimator": "DR",
            "candidate": judged.candidate,
            "estimate": estimate.value,
            "interval": estimate.interval,
            "truth": judged.truth,
            "effective_sample_size": found.effective_sample_size,
            "largest_weight": found.largest_weight,
            "doubts": found.doubts,
        },
        "policy_versions": counted["changes"].get("policy_published", 0),
        "seconds": round(seconds, 1),
    }
