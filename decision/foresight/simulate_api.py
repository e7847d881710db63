"""HTTP route of simulations."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import AwareDatetime, Field

from decision.foresight.content_api import Shown
from decision.foresight.simulating import GivenBody, Simulations, Text
from decision.wiring import Service


class SimulateBody(Shown):
    """For whom, from when, with which variant, and what happens meanwhile.

    A version, or the draft; without either the version that is served, else the newest.
    """

    user_id: Text
    at: AwareDatetime | None = None
    variant: Text | None = None
    given: list[GivenBody] = Field(default=[], max_length=500)


def router(service: Service) -> APIRouter:
    """Return the route."""
    routes = APIRouter(prefix="/v1", tags=["playbooks"])
    simulations = Simulations(
        service.library,
        service.clock,
        service.files.schema,
        service.delivery.views,
        service.identity.lookup.canonical,
        service.files.staff.hours,
    )

    @routes.post("/playbooks/{playbook}/simulate")
    def simulate(playbook: str, body: SimulateBody) -> dict[str, Any]:
        """The timeline of a flow for a user as they are now; nothing is kept or sent."""
        found = simulations.simulate(playbook, body.side, body.user_id, body.at, body.variant, body.given)
        return msgspec.to_builtins(found)  # type: ignore[no-any-return]

    return routes
