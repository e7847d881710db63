"""HTTP routes of the quarantine."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from audiences.quarantine.service import Quarantine
from storage.clock import Clock

_MOST = 1_000


class ReplayRequest(BaseModel):
    """What to replay: events of one name, or all."""

    model_config = ConfigDict(extra="forbid")

    event: str | None = None


def router(quarantine: Quarantine, clock: Clock) -> APIRouter:
    """Return the routes of the quarantine."""
    routes = APIRouter(prefix="/v1/quarantine", tags=["audiences"])

    @routes.get("")
    def list_quarantined(
        event: str | None = None,
        cursor: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 100,
    ) -> dict[str, Any]:
        """Events that do not fit the tracking plan, oldest first, and how many there are by name."""
        page = quarantine.page(names=[event] if event else (), after=cursor, limit=limit)
        return {
            "counts": quarantine.counts(),
            "events": [msgspec.to_builtins(one) for one in page],
            "next": page[-1].cursor if len(page) == limit else None,
        }

    @routes.get("/{event_id}")
    def show(event_id: str) -> dict[str, Any]:
        """One event with everything that was sent."""
        shown: dict[str, Any] = msgspec.to_builtins(quarantine.show(event_id))
        return shown

    @routes.post("/replay")
    def replay(request: ReplayRequest | None = None) -> dict[str, Any]:
        """Take in what fits by now; ids and times stay, the rest stays in quarantine with the reason."""
        names = [request.event] if request and request.event else ()
        done: dict[str, Any] = msgspec.to_builtins(quarantine.replay(clock.now(), names=names))
        return done

    return routes
