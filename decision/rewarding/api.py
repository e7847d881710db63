"""HTTP routes of rewards."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from decision.decider import Decider
from learning import outcome_repository
from learning.earnings import earnings
from learning.errors import UnknownPlan
from learning.late_outcomes import RefusedOutcome
from learning.plans import Plans
from learning.reward_service import RewardService
from playbooks.suggesting import closest
from storage.engine import Database

MAX_REFUSED = 500


class RecomputeBody(BaseModel):
    """By which version's goal to judge; without it by that of the newest version that is served."""

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(default=None, ge=1)


def router(database: Database, rewards: RewardService, decider: Decider) -> APIRouter:
    """Return the routes of rewards."""
    routes = APIRouter(prefix="/v1", tags=["rewards"])
    plans = Plans(database)

    def newest(playbook: str) -> int:
        library = decider.snapshot.library
        try:
            return library.newest(playbook).version
        except KeyError:
            names = {one.id for one in library.playbooks}
            raise UnknownPlan(f"no playbook {playbook!r} is served{closest(playbook, names)}") from None

    @routes.get("/playbooks/{playbook}/earnings")
    def show_earnings(
        playbook: str, since: AwareDatetime | None = None, until: AwareDatetime | None = None
    ) -> dict[str, Any]:
        """What each arm's decisions earned: value, cost, net, and an interval of the mean."""
        newest(playbook)
        found = _earnings(playbook, since, until)
        answer: dict[str, Any] = msgspec.to_builtins(found)
        return answer

    def _earnings(playbook: str, since: datetime | None, until: datetime | None) -> Any:
        with database.read() as connection:
            return earnings(connection, plans, playbook, decider.snapshot.costs, since=since, until=until)

    @routes.post("/playbooks/{playbook}/rewards/recompute")
    def recompute(playbook: str, body: RecomputeBody | None = None) -> dict[str, Any]:
        """Have all its decisions judged by a version's goal; the job `reward` does so."""
        version = (body and body.version) or newest(playbook)
        return {"playbook": playbook, "version": version, "decisions": rewards.recompute(playbook, version)}

    @routes.get("/rewards/refused")
    def list_refused(
        before: Annotated[int | None, Query(ge=1, description="Only those with a smaller seq.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_REFUSED)] = 100,
    ) -> dict[str, Any]:
        """Outcomes that could not be counted, newest first, and why."""
        with database.read() as connection:
            found = outcome_repository.refused_before(connection, before, limit)
        refused = [
            {
                "user_id": fact.user_id,
                "occurred_at": fact.occurred_at,
                "recorded_at": fact.recorded_at,
                **msgspec.to_builtins(fact.decode(RefusedOutcome)),
            }
            for fact in found
        ]
        return {"refused": refused, "before": found[-1].seq if len(found) == limit else None}

    return routes
