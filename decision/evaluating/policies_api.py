"""HTTP routes of champion and challengers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from decision.evaluating.fallbacks import FallbackNow
from decision.evaluating.policies import described, standings
from learning.challengers.promoting import Promoting
from learning.rebuilding import rebuild
from storage.engine import Database


class PromoteBody(BaseModel):
    """Why a policy is to take charge."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(default="", max_length=2000, pattern=r"^[^\x00]*$")


def router(
    database: Database,
    promoting: Promoting,
    name_of: Callable[[Request], str],
    served: Callable[[], None],
    fallbacks: Callable[[], Sequence[FallbackNow]],
) -> APIRouter:
    """Return the routes; `served` is called after somebody took charge."""
    routes = APIRouter(prefix="/v1", tags=["policies"])

    @routes.get("/policies")
    def list_policies() -> dict[str, Any]:
        """The policies of the library: role, newest version, evidence; and what is shown without any."""
        found: Any = msgspec.to_builtins(standings(database, promoting))
        without: Any = msgspec.to_builtins(fallbacks())
        return {"policies": found, "promotion": promoting.rules.promotion, "fallbacks": without}

    @routes.get("/policies/{policy}")
    def show_policy(policy: str) -> dict[str, Any]:
        """One policy: versions, evidence, what speaks against promoting it, and how past claims did."""
        return described(database, promoting, policy)

    @routes.post("/policies/{policy}/promote")
    def promote_policy(policy: str, request: Request, body: PromoteBody | None = None) -> dict[str, Any]:
        """Put a policy in charge, if what is known by now proves that it may; the answer is the proof."""
        proof = promoting.promote(policy, name_of(request), "" if body is None else body.why)
        served()
        answer: dict[str, Any] = msgspec.to_builtins(proof)
        return answer

    @routes.post("/policies/versions/{version}/rebuild")
    def rebuild_version(version: str) -> dict[str, Any]:
        """Learn a version again from the ledger; say how far it is what was published. Publishes nothing."""
        _, told = rebuild(database, version)
        answer: dict[str, Any] = msgspec.to_builtins(told)
        return answer

    return routes
