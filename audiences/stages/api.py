"""HTTP routes of lifecycles: their stages and sizes, and a user's stage, which may be set by hand."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from audiences.errors import UnknownUser
from audiences.repository import is_known
from audiences.stages.service import Stages
from storage.clock import Clock
from storage.engine import Database


class ByHand(BaseModel):
    """A stage that somebody puts a user into, and why."""

    model_config = ConfigDict(extra="forbid")

    stage: Annotated[str, Field(min_length=1, max_length=64)]
    by: Annotated[str, Field(min_length=1, max_length=255)]
    reason: Annotated[str, Field(max_length=2_000)] = ""


def router(database: Database, clock: Clock, stages: Stages) -> APIRouter:
    """Return the routes of lifecycles."""
    routes = APIRouter(prefix="/v1", tags=["audiences"])

    @routes.get("/lifecycles")
    def list_lifecycles() -> list[dict[str, Any]]:
        """Every lifecycle with its stages, how many users stand in each, and for how long."""
        return [stages.describe(one.spec.id, clock.now()) for one in stages.lifecycles]

    @routes.get("/lifecycles/{lifecycle}")
    def show_lifecycle(lifecycle: str) -> dict[str, Any]:
        """One lifecycle with its stages, how many users stand in each, and for how long."""
        return stages.describe(lifecycle, clock.now())

    @routes.get("/users/{user_id}/stages")
    def show_stages(user_id: str) -> dict[str, Any]:
        """A user's stage in each lifecycle, and since when."""
        _known(user_id)
        return stages.of(user_id)

    @routes.put("/users/{user_id}/stages/{lifecycle}")
    def put_stage(user_id: str, lifecycle: str, by_hand: ByHand) -> dict[str, Any]:
        """Put a user into a stage by hand."""
        _known(user_id)
        stages.put(user_id, lifecycle, by_hand.stage, by=by_hand.by, reason=by_hand.reason, now=clock.now())
        return stages.of(user_id)

    def _known(user_id: str) -> None:
        with database.read() as connection:
            if not is_known(connection, user_id):
                raise UnknownUser(f"no event of a user {user_id!r} was ever recorded; check the id")

    return routes
