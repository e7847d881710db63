"""HTTP routes of evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from decision.evaluating.claims import claims_of
from decision.evaluating.experiments import own_experiment
from decision.evaluating.own import claimed, look
from learning.errors import UnknownCandidate
from learning.evaluation import Candidate, How, candidate, evaluate
from learning.evaluation.evaluate import CONFIDENCE, RESAMPLES
from learning.evaluation.logs import log_of_rows
from learning.evaluation.rounds import FloatArray
from learning.offline.published import candidate_in_rows, names_version
from storage.clock import Clock
from storage.engine import Database

_MOST_RESAMPLES = 10_000


class EvaluationRequest(BaseModel):
    """What to evaluate: a policy version on the service's decisions, or a policy on `rounds` that are sent.

    Rounds are objects with action, reward and pscore, and optionally action_dist, estimated_rewards,
    round_id, user_id, context.* and guard.*; `policy` and `baseline` are then `logged`, `uniform`,
    `always:ACTION` or a version, whose arms the actions are, the policy by default the rounds' `action_dist`.
    """

    model_config = ConfigDict(extra="forbid")

    policy: str | None = None
    baseline: str | None = None
    rounds: list[dict[str, Any]] | None = None
    rewards: tuple[float, float] | None = None
    after: int | None = None
    until: int | None = None
    estimators: list[str] = ["all"]
    intervals: list[str] = []
    confidence: float = CONFIDENCE
    resamples: int = Field(default=RESAMPLES, le=_MOST_RESAMPLES)
    seed: int = Field(default=0, ge=0)
    promote: bool = False
    guards: dict[str, float] = {}


def router(database: Database, clock: Clock) -> APIRouter:
    """Return the routes that evaluate."""
    routes = APIRouter(prefix="/v1", tags=["evaluation"])

    @routes.post("/evaluations")
    def evaluate_policy(asked: EvaluationRequest) -> dict[str, Any]:
        """What a policy would have been worth, with intervals, diagnostics and a verdict."""
        how = How(
            asked.estimators,
            asked.intervals,
            asked.confidence,
            asked.resamples,
            asked.seed,
            asked.promote or bool(asked.guards),
            asked.guards,
        )
        if asked.rounds is None:
            own = look(database, asked.policy, asked.baseline, after=asked.after, until=asked.until)
            found = claimed(database, own, evaluate(*own.judged, how), clock.now())
        else:
            log = log_of_rows(asked.rounds)
            if asked.rewards is not None:
                log = log.between(*asked.rewards)

            def named(policy: str | None) -> Candidate:
                if policy is not None and names_version(policy):
                    return candidate_in_rows(database, policy, asked.rounds or [], log)
                return candidate(log, policy, _no_files)

            other = None if asked.baseline is None else named(asked.baseline)
            found = evaluate(log, named(asked.policy), other, how)
        answer: dict[str, Any] = msgspec.to_builtins(found)
        return answer

    @routes.get("/claims")
    def list_claims(
        policy: str | None = None,
        before: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> dict[str, Any]:
        """What promotions and evaluations promised of policies, what came of it, and how often they held."""
        answer: dict[str, Any] = msgspec.to_builtins(claims_of(database, policy, before, limit))
        return answer

    @routes.get("/experiments/{policy}")
    def show_experiment(
        policy: str,
        control: str | None = None,
        confidence: Annotated[float, Query(ge=0.5, le=0.999)] = CONFIDENCE,
    ) -> dict[str, Any]:
        """What a policy version that splits by fixed shares found out, valid however often one asks."""
        answer: dict[str, Any] = msgspec.to_builtins(own_experiment(database, policy, control, confidence))
        return answer

    return routes


def _no_files(path: Path) -> FloatArray:
    raise UnknownCandidate(
        f"{path}: the service reads no files; name logged, uniform, always:ACTION or a version"
    )
