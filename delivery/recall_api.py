"""HTTP route of recalls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Body, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from delivery.recalling import Recalls, Wish


class RecallBody(BaseModel):
    """What to recall, and how. It is a rehearsal unless `dry_run` is false."""

    model_config = ConfigDict(extra="forbid")

    playbook: Annotated[str, Field(max_length=64)]
    version: Annotated[int, Field(ge=1)]
    since: AwareDatetime
    until: AwareDatetime
    why: Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]
    coupons: Literal["void", "honour"] = "honour"
    correction: Annotated[str, Field(max_length=64)] | None = None
    dry_run: bool = True


def router(recalls: Recalls, who: Callable[[Request], str]) -> APIRouter:
    """Return the route of recalls; `who` does what a request asks for."""
    routes = APIRouter(prefix="/v1", tags=["recalls"])

    @routes.post("/recalls")
    def recall(request: Request, body: Annotated[RecallBody, Body()]) -> dict[str, Any]:
        """Find everyone whom messages of a version reached within some minutes; take back what can be.

        Without `dry_run: false` it only says whom, how much is queued, and the exposure in money.
        """
        said = body.model_dump(exclude={"dry_run"})
        done = recalls.recall(Wish(**said), by=who(request), dry_run=body.dry_run)
        told: dict[str, Any] = msgspec.to_builtins(done)
        return told

    return routes
