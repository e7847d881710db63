"""HTTP routes of machine events."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from audiences.machines.service import MachineEvents
from storage.clock import Clock


def router(machines: MachineEvents, clock: Clock) -> APIRouter:
    """Return the routes of machine events."""
    routes = APIRouter(prefix="/v1/machines", tags=["audiences"])

    @routes.get("")
    def counts(days: Annotated[int, Query(ge=1, le=400)] = 7) -> dict[str, Any]:
        """How many events of the last days are kept apart as machines', by reason, and how many are held."""
        return {
            "days": days,
            "by_reason": machines.counts(clock.now() - timedelta(days=days)),
            "held": machines.waiting(),
        }

    @routes.post("/{event_id}/release")
    def release(event_id: str) -> dict[str, Any]:
        """A person did it after all: take the event in, with its own id and times."""
        taken = machines.not_a_machine(event_id, clock.now())
        return {"event_id": taken.event_id, "outcome": taken.outcome}

    return routes
